"""Faults of a WeChat account's settings: one line each, with the key, what is wrong and what would be right."""

from __future__ import annotations

import pytest

import channels
from bot.errors import ConfigError
from bot.settings import load

GOOD = {
    "type": "wechat",
    "app_id": "wx00aa11bb22cc33dd",
    "app_secret": "s3cret-app-9",
    "token": "tok3nShop01",
    "encoding_aes_key": "Zm9yLXRlc3RzLW9ubHktbm90LWEtcmVhbC1rZXktMDE",
}


def faults(tmp_path, **changes) -> list[str]:
    values = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    lines = [f"{key} = {value if isinstance(value, int) else repr(value)}" for key, value in values.items()]
    path = tmp_path / "config.toml"
    path.write_text('[brand]\nname = "x"\n[channels.wechat-main]\n' + "\n".join(lines).replace("'", '"'))
    try:
        load(path, channels.ALL, env={})
    except ConfigError as error:
        return list(error.faults)
    return []


@pytest.mark.parametrize(
    ("changes", "key", "cure"),
    [
        ({"app_id": "gh_0123456789ab"}, "app_id = 'gh_0123456789ab'", "must be the AppID that the console shows"),
        ({"app_id": None}, "app_id", "is missing; set it in [channels.wechat-main] or as TOUCHPOINT__CHANNELS__"),
        ({"appid": "wx1"}, "appid", "did you mean app_id?"),
        ({"app_secret": "a b"}, "app_secret", "must be the AppSecret that the console shows"),
        ({"app_secret": ""}, "app_secret", "must be the AppSecret that the console shows"),
        ({"token": "ab"}, "token", "3 to 32 letters"),
        ({"token": "令牌令牌"}, "token", "3 to 32 letters"),
        ({"encoding_aes_key": "short"}, "encoding_aes_key", "must be the 43 characters that the console shows"),
        ({"mode": "safe", "encoding_aes_key": None}, "", 'mode = "safe" needs encoding_aes_key'),
        ({"mode": "plain"}, "", "drop one"),
        ({"mode": "encrypted"}, "mode = 'encrypted'", "'safe', 'compatible' or 'plain'"),
        ({"reply": "passive"}, "reply = 'passive'", 'write "auto" or "api"'),
        ({"api_base": "api.weixin.qq.com"}, "api_base = 'api.weixin.qq.com'", 'such as "https://api.weixin.qq.com"'),
        ({"js_sdk": "res.wx.qq.com/a.js"}, "js_sdk = 'res.wx.qq.com/a.js'", 'such as "https://res.wx.qq.com/open/js/'),
        (
            {"js_sdk": "https://x.example/a.js;x"},
            "js_sdk = 'https://x.example/a.js;x'",
            "must be the address of a script",
        ),
        ({"timestamp_tolerance_s": -1}, "timestamp_tolerance_s = '-1'", "greater than or equal to 0"),
    ],
)
def test_each_fault_is_one_line_with_its_cure(tmp_path, changes, key, cure):
    """Named by its key; no secret is repeated."""
    [line] = faults(tmp_path, **changes)
    assert line.startswith(".".join(filter(None, ("channels.wechat-main", key))))
    assert cure in line
    assert all(secret not in line for secret in ("s3cret", "tok3n", "a b", "令牌"))


def test_all_faults_come_at_once(tmp_path):
    """And good settings have none."""
    assert faults(tmp_path) == []
    assert len(faults(tmp_path, app_id="x", token="!", api_base="x", encoding_aes_key="x")) == 4


def test_which_accounts_have_subscription_notices(tmp_path):
    """Of another channel, of no kind that there is, or one id of two kinds: named with what would be right."""
    path = tmp_path / "config.toml"
    wechat = "\n".join(f'{key} = "{value}"' for key, value in GOOD.items())
    twilio = 'type = "twilio"\naccount_sid = "AC00112233445566778899aabbccddeeff"\nauth_token = "a1b2c3d4e5f60718293a4b5c6d7e8f90"\nfrom_number = "+15005550006"'

    def told(notices: str) -> list[str]:
        path.write_text(
            f'[brand]\nname = "x"\n[channels.wechat-main]\n{wechat}\n[channels.sms-main]\n{twilio}\n{notices}'
        )
        try:
            load(path, channels.ALL, env={})
        except ConfigError as error:
            return [one for one in error.faults if one.startswith("notices")]
        return []

    one = '[notices.order_shipped.{}]\ntemplate_id = "t1"\nkind = "{}"\n'
    assert told(one.format("wechat-main", "subscription")) == []
    [line] = told(one.format("sms-main", "subscription"))
    assert (
        'sms-main has no subscription notices; write "template", or name a channel that has them: wechat-main' in line
    )
    [line] = told(one.format("wechat-main", "subscribe"))
    assert "notices.order_shipped.wechat-main.kind = 'subscribe': must be 'template' or 'subscription'" in line
    other = '[notices.order_paid.wechat-main]\ntemplate_id = "t1"\n'
    [line] = told(one.format("wechat-main", "subscription") + other)
    assert "notices.order_shipped.wechat-main has the same template_id as 'subscription'; it is of one kind" in line
