"""The configuration: every fault at once, each with key, value and cure; secrets never shown; nothing else is raised."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import channels
import shops
import trackers
from bot.errors import ConfigError
from bot.settings import Settings, load

SHIPPED = Path(__file__).resolve().parents[2] / "config.toml"
TEXT = SHIPPED.read_text(encoding="utf-8")


def read(tmp_path: Path, text: str = TEXT, **env: str) -> Settings:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, channels.ALL, shops.ALL, trackers.ALL, env=env)


def faults(tmp_path: Path, text: str = TEXT, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, text, **env)
    return list(raised.value.faults)


def test_the_shipped_file_loads(tmp_path: Path) -> None:
    """config.toml is a ready shop: three channels in four accounts, a standard shop, the sandbox on."""
    found = read(tmp_path)
    assert set(found.channels) == {"wechat-main", "messenger-main", "sms-main", "sms-cn"}
    assert found.shops["main"].type == "standard"
    assert found.sandbox.enabled
    assert all("/sandbox/providers/" in account.api_base for account in found.channels.values())


def test_a_file_with_a_brand_alone_loads(tmp_path: Path) -> None:
    """All but the name has a default; the policy is the documented one."""
    found = read(tmp_path, '[brand]\nname = "S"\n')
    assert str(found.policy.marketing_hours) == "09:00-20:30"
    assert str(found.policy.service_hours) == "08:00-22:00"
    policy = found.policy
    assert (policy.marketing_per_week, policy.marketing_per_day, policy.service_per_day) == (2, 1, 6)
    assert policy.large_order is None
    assert (found.redis.url, found.redis.partitions) == ("embedded:var/valkey", 64)
    assert not found.sandbox.enabled


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Seven faults of seven kinds give seven lines, each naming its key."""
    text = (
        TEXT.replace('timezone = "Asia/Shanghai"', 'timezone = "Asia/Shanghaj"')
        .replace("port = 8080", "port = 80800")
        .replace("marketing_per_week", "marketing_per_wek")
        .replace('app_secret = "sandbox-wechat-app-secret"\n', "")
        .replace('type = "twilio"', 'type = "twillio"')
        .replace('service_hours = "08:00-22:00"', 'service_hours = "8 to 10"')
        .replace("[club]", "[clubb]")
    )
    found = faults(tmp_path, text)
    expected = (
        r"brand\.timezone = 'Asia/Shanghaj': .*did you mean Asia/Shanghai\?",
        r"server\.port = '80800': .*less than or equal to 65535",
        r"policy\.marketing_per_wek: .*did you mean marketing_per_week\?",
        r"channels\.wechat-main\.app_secret: is missing; set it in \[channels\.wechat-main\] or as TOUCHPOINT__CHANNELS__WECHAT_MAIN__APP_SECRET",
        r"channels\.sms-main\.type = 'twillio': must be one of .*twilio",
        r"policy\.service_hours = '8 to 10': .*write \"09:00-20:30\" or \"always\"",
        r"\[clubb\]: there is no such section; did you mean club\?",
    )
    for pattern in expected:
        assert [line for line in found if re.search(pattern, line)], (pattern, found)
    assert len(found) == len(expected), found
    assert not any("\n" in line for line in found)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('timezone = "Asia/Shanghai"', 'timezone = "Mars"', "such as Asia/Shanghai"),
        ('timezone = "Asia/Shanghai"', 'timezone = "../../etc/passwd"', "time zone"),
        ('url = "embedded:var/valkey"', 'url = "mysql://root:hunter2@db"', "redis.url: must begin with"),
        ('public_url = "http://127.0.0.1:8080"', 'public_url = "shop.example"', "server.public_url"),
        ('cutoff = "16:00"', 'cutoff = "25:00"', "shipping.cutoff = '25:00'"),
        ('within = "24h"', 'within = "soon"', '"24h" or "3d"'),
        ('name = "小满衣橱"', 'name = ""', "brand.name"),
        ('locale = "zh-CN"', 'locale = "fr"', "zh-TW"),
        ('service = ["wechat-main"', 'service = ["wechat-mian"', "did you mean wechat-main?"),
        ("[channels.sms-cn]", "[channels.SMS_cn]", "1 to 32 of a-z, 0-9 and -"),
        ("[shops.main]", "[shops.sms-main]", "a channel has the same name"),
        ('type = "twilio"', 'type = ["twilio"]', "must be one of"),
        ("[brand]", "[notices]\norder_paid = 1\n[brand]", "notices.order_paid"),
        ("[brand]", "trackers = 1\n[brand]", "trackers: write one table per account"),
        ("[brand]", "when = 2026-13-45\n[brand]", "is not TOML"),
    ],
)
def test_each_kind_of_fault(tmp_path: Path, old: str, new: str, told: str) -> None:
    """One damaged line is named with its cure."""
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    assert any(told in line for line in faults(tmp_path, text))


BASE = TEXT.replace("# large_order = 2000", "large_order = 2000")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('currency = "CNY"', 'currency = "RMB"', "brand.currency = 'RMB': must be the three-letter code of a currency"),
        ('country = "CN"', 'country = "ZZ"', "brand.country = 'ZZ': must be a two-letter country code"),
        ("[brand]", '[brand]\nprivacy_url = "shop"', "brand.privacy_url = 'shop': must be an address such as"),
        ('name = "小满衣橱"', f'name = "{"x" * 21}"', "must have at most 20 characters"),
        ("port = 8080", 'port = "eighty"', "server.port = 'eighty': must be a whole number"),
        ("port = 8080", "port = 0", "server.port = '0': must be greater than or equal to 1"),
        ('host = "127.0.0.1"', 'host = "not a host"', "server.host = 'not a host': must be an address of this machine"),
        ('host = "127.0.0.1"', 'host = ""', "server.host = '': must be an address of this machine"),
        ("processes = 0", "processes = 1.5", "server.processes = '1.5': must be a whole number"),
        (
            'host = "127.0.0.1"',
            'trusted_proxies = "10.0.0.0/8"',
            "server.trusted_proxies = '10.0.0.0/8': must be a list",
        ),
        (
            'host = "127.0.0.1"',
            'trusted_proxies = ["10.0.0.0/8", "nginx"]',
            "server.trusted_proxies.1 = 'nginx': must be an address or a network",
        ),
        (
            'host = "127.0.0.1"',
            'trusted_proxies = ["0.0.0.0/0"]',
            "server.trusted_proxies.0 = '0.0.0.0/0': takes in half the internet",
        ),
        ('"embedded:var/valkey"', '"redis://host:port"', "redis.url: its port must be a number"),
        (
            '"embedded:var/valkey"',
            '"redis+sentinel://host:26379"',
            "redis.url: must end with the name that the sentinels know",
        ),
        ('"embedded:var/valkey"', '"redis+sentinel://host:x/tp"', "redis.url: its port must be a number"),
        ('"embedded:var/valkey"', '"redis+cluster://host:1,host:99999"', "redis.url: its port must be a number"),
        ('"embedded:var/valkey"', '"redis+cluster://host/mymaster"', "redis.url: a cluster has no service"),
        ('"embedded:var/valkey"', '"embedded:"', "redis.url: must begin with"),
        ("partitions = 64", "partitions = 0", "redis.partitions = '0': must be greater than or equal to 1"),
        ('"09:00-20:30"', '"25:00-26:00"', "is no span of hours; write"),
        ("marketing_per_week = 2", "marketing_per_week = -2", "policy.marketing_per_week = '-2': must be"),
        ("large_order = 2000", "large_order = -5", "policy.large_order = '-5': must be greater than 0"),
        ("large_order = 2000", 'large_order = "many"', "policy.large_order = 'many': must be a number"),
        (
            "marketing = [",
            "marketting = [",
            "policy.order_of_channels.marketting: there is no such key; it must be 'service'",
        ),
        ('cutoff = "16:00"', 'cutoff = "4pm"', "must be a time of the day, such as \"16:00\", or must be 'never'"),
        ('within = "24h"', 'within = "0h"', "shipping.within = '0h': must be greater than or equal to 1"),
        ("closed_days = []", 'closed_days = ["sunday"]', "shipping.closed_days.0 = 'sunday': must be 'mon'"),
        ("closed_days = []", 'closed_days = "sun"', "must be a list, such as"),
        ('holidays = "CN"', 'holidays = "US"', "shipping.holidays = 'US': must be 'CN' or 'none'"),
        ("answer_minutes = 15", "answer_minutes = 0", "staff.answer_minutes"),
        ('phone = "400-000-0000"', "phone = 400", "staff.phone = '400': must be a text, in quotes"),
        ('gift = "WELCOME"', 'gift = "welcome"', "club.gift = 'welcome': must be the key of a campaign"),
        ('points_per = "1"', 'points_per = "-1"', "club.points_per = '-1': must be greater than or equal to 0"),
        ('points_per = "1"', 'points_per = "one"', "club.points_per = 'one': must be a number"),
        ("within_months = 12", "within_months = 99", "club.within_months = '99': must be less than or equal to 36"),
        ("spend = 1000", "spend = 200", "club.levels.1.spend = '200': must be above the 300 of 'silver'; lowest first"),
        ("spend = 1000", 'spend = "1000 USD"', "club.levels.1.spend = '1000 USD': must be a number"),
        ("spend = 1000", "spend = 1000.125", "club.levels.1.spend = '1000.125': CNY has 2 decimals"),
        (
            "spend = 300",
            "spend = 0",
            "club.levels.0.spend = '0': must be above 0; the level that every new card has is",
        ),
        (
            'key = "silver"',
            'key = "basic"',
            "club.levels.0.spend = '300': basic is what every new card has; it stands first",
        ),
        ('key = "gold"', 'key = "silver"', "club.levels.1.key = 'silver': stands there twice"),
        ('key = "gold"', 'key = "Gold card"', "club.levels.1.key: must be 1 to 20 of a-z, 0-9, _ and -"),
        ('key = "gold"', 'key = "gold"\ngift = "gold"', "club.levels.1.gift = 'gold': must be the key of a campaign"),
        (
            'key = "gold"',
            'key = "gold"\ngift = "WELCOME"',
            "club.levels.1.gift = 'WELCOME': is given elsewhere in [club]",
        ),
        ('key = "gold"', 'key = "gold"\nright = {}', "club.levels.1.right: there is no such key"),
        (
            'names = { zh-CN = "金卡会员", ',
            "names = { ",
            "club.levels.1.names: buyers read it; give one for your own language",
        ),
        ('en = "Gold"', 'en = "Silver"', "club.levels.1.names: 'Silver' means 'silver' already; give another"),
        ("enabled = true", 'enabled = "maybe"', "sandbox.enabled = 'maybe': must be true or false"),
        ('mode = "safe"', 'mode = "unsafe"', "channels.wechat-main.mode = 'unsafe': must be 'safe'"),
        (
            'page_id = "900100200300400"',
            'page_id = "mine"',
            "channels.messenger-main.page_id = 'mine': must be digits only",
        ),
        ('graph_version = "v26.0"', 'graph_version = "26"', "must be a version such as"),
        ('secret = "whsec_', 'secret = "x', "shops.main.secret: must be"),
        ('type = "standard"\n', "", "shops.main.type: must be one of"),
        ("[staff]", "[staff]\nhour = 1", "staff.hour: there is no such key; did you mean hours?"),
        ("[brand]", "x = 1\n[brand]", "[x]: there is no such section"),
        ("[shops.main]", "[brand]\n[shops.main]", "is not TOML"),
        ("[brand]", '[ledger]\nurl = "mysql://x"\n[brand]', "ledger.url: must begin with"),
        ("[brand]", '[codes]\ncountries = ["China"]\n[brand]', "codes.countries.0 = 'China': must be a two-letter"),
        (
            "[brand]",
            '[broadcasts]\ntest_receivers = ["sms-mian:+86"]\n[brand]',
            "there is no channel named 'sms-mian'; did you",
        ),
        ("[brand]", '[broadcasts]\ntest_receivers = ["+86"]\n[brand]', "must be ACCOUNT:ID"),
        ("[brand]", '[broadcasts]\nlink_hosts = ["https://a.b"]\n[brand]', "must be the name of a host"),
        (
            "[brand]",
            '[broadcasts.templates.sms-xx.SMS_1]\ntext = "x"\n[brand]',
            "broadcasts.templates.sms-xx: there is no",
        ),
        (
            "[brand]",
            "[broadcasts.templates.sms-cn.SMS_1]\n[brand]",
            "broadcasts.templates.sms-cn.SMS_1.text: is missing",
        ),
        ("[brand]", "[broadcasts]\napprove_above = -1\n[brand]", "broadcasts.approve_above = '-1': must be"),
        ("[brand]", "[notices.order_shipped.wechat-man]\ntemplate_id = 'x'\n[brand]", "did you mean wechat-main?"),
        ("[brand]", "[notices.order_paid.wechat-main]\n[brand]", "template_id: is missing; set it in"),
    ],
)
def test_plain_words_for_each_fault(tmp_path: Path, old: str, new: str, told: str) -> None:
    """One line for one fault, in the words of the configuration: no pattern, no name of the library."""
    text = BASE.replace(old, new, 1)
    assert text != BASE
    found = faults(tmp_path, text)
    assert len(found) == 1, found
    assert told in found[0]
    assert not re.search(r"pydantic|regex|\^|Input|unable to", found[0])


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """A wrong secret, a URL with a password: the fault names the key and not the value."""
    text = (
        TEXT.replace(
            'encoding_aes_key = "c2FuZGJveC1vbmx5LW5vdC1hLXJlYWwta2V5LTAwMDE"', 'encoding_aes_key = "hush-key"'
        )
        .replace('token = "sandboxToken01"', 'token = "hush-token-which-is-much-too-long-for-wechat"')
        .replace("whsec_c2FuZGJveC1zaG9wLXNlY3JldC0wMTIzNDU2Nzg5", "hush!!")
        .replace("embedded:var/valkey", "ftp://me:hush@host")
    )
    found = faults(tmp_path, text)
    assert len(found) == 4, found
    assert "hush" not in "\n".join(found)
    assert "sandbox-wechat-app-secret" not in repr(read(tmp_path))


def test_the_environment_overrides(tmp_path: Path) -> None:
    """`-` is written `_`; numbers, switches and lists are read as their key wants them."""
    found = read(
        tmp_path,
        TOUCHPOINT__CHANNELS__WECHAT_MAIN__APP_SECRET="fresh",
        TOUCHPOINT__SERVER__PORT="9090",
        TOUCHPOINT__SANDBOX__ENABLED="false",
        TOUCHPOINT__SHIPPING__CLOSED_DAYS='["sun", "2026-10-01"]',
        TOUCHPOINT__POLICY__LARGE_ORDER="2000",
        UNRELATED="x",
    )
    assert found.channels["wechat-main"].app_secret.get_secret_value() == "fresh"
    assert found.server.port == 9090
    assert not found.sandbox.enabled
    assert found.shipping.closed_days[0] == "sun"
    assert found.policy.large_order == 2000


@pytest.mark.parametrize("secret", ["12345678", "true", "1e5", "[half", "2026-10-01", "0x10", "007"])
def test_a_secret_from_the_environment_stays_text(tmp_path: Path, secret: str) -> None:
    """A secret that looks like a number, a date or a switch is taken as it stands."""
    found = read(tmp_path, TOUCHPOINT__CHANNELS__WECHAT_MAIN__APP_SECRET=secret)
    assert found.channels["wechat-main"].app_secret.get_secret_value() == secret


def test_an_account_from_the_environment_alone(tmp_path: Path) -> None:
    """A new account's name gets its hyphen."""
    found = read(
        tmp_path,
        '[brand]\nname = "S"\n',
        TOUCHPOINT__SHOPS__WEB_SHOP__TYPE="standard",
        TOUCHPOINT__SHOPS__WEB_SHOP__SECRET="whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    )
    assert list(found.shops) == ["web-shop"]


def test_environment_faults_are_named(tmp_path: Path) -> None:
    """A name without a key, a step through a value."""
    found = faults(tmp_path, TOUCHPOINT__BRAND="x", TOUCHPOINT__BRAND__NAME__FIRST="x")
    assert any("TOUCHPOINT__BRAND: write" in line for line in found)
    assert any("no table" in line for line in found)


def test_secret_files(tmp_path: Path) -> None:
    """`<key>_file` reads a secret without its line break; both at once, or a missing file, is a fault."""
    (tmp_path / "s").write_text("from-file\n")
    line = 'app_secret = "sandbox-wechat-app-secret"'
    found = read(tmp_path, TEXT.replace(line, f'app_secret_file = "{tmp_path}/s"'))
    assert found.channels["wechat-main"].app_secret.get_secret_value() == "from-file"
    both = faults(tmp_path, TEXT.replace(line, f'{line}\napp_secret_file = "{tmp_path}/s"'))
    assert "keep one" in both[0]
    missing = faults(tmp_path, TEXT.replace(line, 'app_secret_file = "/nowhere/s"'))
    assert "cannot be read" in missing[0]


def test_secret_files_count_from_the_folder_of_the_file(tmp_path: Path) -> None:
    """A relative path; a list of files for a rotation; a URL with its password; what is no text is a fault."""
    (tmp_path / "new").write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n")
    (tmp_path / "old").write_text("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWQ=\n")
    (tmp_path / "url").write_text("redis://:hush@127.0.0.1:6379/0\n")
    line = 'secret = "whsec_c2FuZGJveC1zaG9wLXNlY3JldC0wMTIzNDU2Nzg5"'
    text = TEXT.replace(line, 'secret_file = ["new", "old"]').replace('url = "embedded:var/valkey"', 'url_file = "url"')
    found = read(tmp_path, text)
    assert [one.get_secret_value()[-4:] for one in found.shops["main"].secret] == ["kZWY="[-4:], "kZWQ="[-4:]]
    assert found.redis.url == "redis://:hush@127.0.0.1:6379/0"
    (tmp_path / "new").write_bytes(b"\xff\xfe")
    assert "secret_file holds no text in UTF-8" in faults(tmp_path, text)[0]


def test_the_environment_may_name_a_file_instead(tmp_path: Path) -> None:
    """A secret's file from the environment overrides the configuration's secret, and the other way round."""
    (tmp_path / "s").write_text("from-file")
    given = {"TOUCHPOINT__CHANNELS__WECHAT_MAIN__APP_SECRET_FILE": str(tmp_path / "s")}
    assert read(tmp_path, **given).channels["wechat-main"].app_secret.get_secret_value() == "from-file"
    text = TEXT.replace('app_secret = "sandbox-wechat-app-secret"', 'app_secret_file = "/nowhere"')
    given = {"TOUCHPOINT__CHANNELS__WECHAT_MAIN__APP_SECRET": "fresh"}
    assert read(tmp_path, text, **given).channels["wechat-main"].app_secret.get_secret_value() == "fresh"
    both = {**given, "TOUCHPOINT__CHANNELS__WECHAT_MAIN__APP_SECRET_FILE": str(tmp_path / "s")}
    assert "keep one" in faults(tmp_path, **both)[0]


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    """No file: one line that says where to look."""
    with pytest.raises(ConfigError, match="--config"):
        load(tmp_path / "none.toml", channels.ALL, shops.ALL, env={})


LINES = TEXT.splitlines()
KEYS = [number for number, line in enumerate(LINES) if line.strip() and not line.startswith("#")]
VALUES = st.sampled_from(
    ['""', "0", "-1", "99999999999999999999", "nan", "inf", "true", "[]", "{}", "[[1]]", "2026-10-01", "12:00:00",
     '"\\u0000"', '"��"', '"../.."', "[{a=1}]", '"€"', "'''\n'''", "1e400"]
)  # fmt: skip
DAMAGE = st.one_of(
    st.tuples(st.just("drop"), st.sampled_from(KEYS), st.just("")),
    st.tuples(st.just("value"), st.sampled_from(KEYS), VALUES),
    st.tuples(st.just("insert"), st.sampled_from(KEYS), st.text(max_size=12)),
    st.tuples(st.just("rename"), st.sampled_from(KEYS), st.text(alphabet="abz-_.[]\"' ", max_size=8)),
)


def damaged(damage: list[tuple[str, int, str]]) -> str:
    lines = list(LINES)
    for kind, number, value in damage:
        if kind == "drop":
            lines[number] = ""
        elif kind == "value":
            lines[number] = f"{lines[number].partition('=')[0]}= {value}"
        elif kind == "insert":
            lines[number] = f"{lines[number][:7]}{value}{lines[number][7:]}"
        else:
            lines[number] = f"{value}{lines[number]}"
    return "\n".join(lines)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(DAMAGE, min_size=1, max_size=4))
def test_random_damage(tmp_path: Path, damage: list[tuple[str, int, str]]) -> None:
    """Whatever is done to the shipped file, it loads or its faults are told; no other exception, no secret in a line."""
    text = damaged(damage)
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        load(path, channels.ALL, shops.ALL, trackers.ALL, env={})
        told = "loaded"
    except ConfigError as error:
        told = str(error)
    assert told
    assert "sandbox-wechat-app-secret" not in told
    assert "sandboxAccessKeySecret" not in told


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_value_anywhere(data: st.DataObject) -> None:
    """Any value, also a table, in place of any key or section, gives faults or loads."""
    from bot import settings as module

    tree = tomllib.loads(TEXT)
    table, steps = tree, data.draw(st.integers(0, 2))
    key = data.draw(st.sampled_from(sorted(tree)))
    for _ in range(steps):
        if isinstance(table[key], dict) and table[key]:
            table = table[key]
            key = data.draw(st.sampled_from(sorted(table)))
    value = data.draw(JSONISH.filter(lambda v: v is not None))
    table[key] = value
    original = module._read
    module._read = lambda _: tree
    try:
        load(SHIPPED, channels.ALL, shops.ALL, trackers.ALL, env={})
        told = "loaded"
    except ConfigError as error:
        told = str(error)
    finally:
        module._read = original
    assert told


@pytest.mark.parametrize(
    ("prices", "fault"),
    [
        (
            'currency = "CNY"\nper_part = { CN = "0" }',
            r"channels\.sms-cn\.prices\.per_part\.CN = '0': .*greater than 0",
        ),
        ('currency = "CNY"\nper_part = { CN = "nan" }', r"channels\.sms-cn\.prices\.per_part\.CN = 'nan': .*finite"),
        (
            'currency = "CNY"\nper_part = { CHN = "0.1" }',
            r"channels\.sms-cn\.prices\.per_part.*CHN.*: .*two-letter country code",
        ),
        ('currency = "yuan"\nper_part = { CN = "0.1" }', r"channels\.sms-cn\.prices\.currency = 'yuan': "),
        ('currency = "CNY"\nper_part = { }', r"channels\.sms-cn\.prices\.per_part: .*at least 1"),
        ('currency = "CNY"\nper_part = { CN = "0.1" }\nas_of = "soon"', r"prices\.as_of = 'soon': must be a day"),
    ],
)
def test_faults_of_prices_are_named(tmp_path: Path, prices: str, fault: str) -> None:
    """A price is more than 0, of a country that exists, in a currency, as of a day."""
    found = faults(tmp_path, f"{TEXT}\n[channels.sms-cn.prices]\n{prices}\n")
    assert len(found) == 1, found
    assert re.search(fault, found[0]), found


@pytest.mark.parametrize("key", ["daily_spend_limit", "monthly_budget"])
def test_a_limit_needs_prices(tmp_path: Path, key: str) -> None:
    """Without prices a limit would count nothing: the line says which key, and what to add; 0 is no limit."""
    found = faults(tmp_path, TEXT.replace("[channels.sms-cn]", f"{key} = 20\n[channels.sms-cn]"))
    assert len(found) == 1
    assert re.search(rf"channels\.sms-main: {key} counts nothing without prices; add", found[0]), found
    found = faults(tmp_path, TEXT.replace("[channels.sms-cn]", f"{key} = 0\n[channels.sms-cn]"))
    assert re.search(rf"channels\.sms-main\.{key} = '0': .*greater than 0", found[0]), found


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("wechat-main", "app_id", "wx00aa11bb22cc33dd"),
        ("messenger-main", "page_id", "900100200300400"),
        ("sms-main", "from_number", r"\+15005550006"),
    ],
)
def test_one_line_twice_is_a_fault(tmp_path, kind, key, value):
    """Two accounts that are the same line at the provider: named with both; another number or a shared name is none."""
    table = re.search(rf"\[channels\.{kind}\]\n(.*?)\n\n", TEXT, re.DOTALL)
    again = f"{TEXT}\n[channels.again]\n{table[1]}\n"
    found = faults(tmp_path, again)
    assert len(found) == 1, found
    assert re.fullmatch(rf"channels\.again\.{key} = '{value}': channels\.{kind} has the same; keep one .*", found[0]), (
        found
    )


def test_a_senders_name_may_be_shared(tmp_path):
    """A name or short code is no line of its own; another number is another line."""
    table = re.search(r"\[channels\.sms-main\]\n(.*?)\n\n", TEXT, re.DOTALL)[1]
    named = TEXT.replace('from_number = "+15005550006"', 'from_number = "TEAHOUSE"')
    again = table.replace('from_number = "+15005550006"', 'from_number = "TEAHOUSE"')
    read(tmp_path, f"{named}\n[channels.again]\n{again}\n")
    read(tmp_path, f"{TEXT}\n[channels.again]\n{table.replace('550006', '550007')}\n")
