"""Every door that providers, shops and trackers post to: nothing gets in unverified."""

from __future__ import annotations

import pytest

from tests.gateway import running

OTHERS = """
[channels.wechat-main]
type = "wechat"
app_id = "wx1234567890abcdef"
app_secret = "0123456789abcdef0123456789abcdef"
token = "a1b2c3d4e5f6"
encoding_aes_key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
[channels.sms-main]
type = "twilio"
account_sid = "AC00000000000000000000000000000001"
auth_token = "0123456789abcdef0123456789abcdef"
from_number = "+15005550006"
[channels.sms-cn]
type = "alibaba"
access_key_id = "LTAI0123456789abcdef"
access_key_secret = "0123456789abcdef0123456789abcd"
sign_name = "小满衣橱"
callback_key = "0123456789abcdef0123456789abcdef"
"""


@pytest.fixture
async def gw(valkey, redis_client, tmp_path):
    async with running(valkey, tmp_path, extra=OTHERS) as harness:
        yield harness


BODIES = (b"", b"{}", b"<xml></xml>", b"From=%2B15005550123&Body=hi", b'[{"phone_number":"13900001234"}]')


async def test_no_door_takes_what_is_not_signed(gw):
    """Each configured account, each of its paths, several shapes of body: 401, and nothing is stored."""
    doors = {f"/{kind}/{name}/{path}" for kind, name in gw.gateway.sources for path in ("webhook", "status")}
    assert len(doors) == 10
    routes = {route.resource.canonical for route in gw.gateway.app.router.routes() if route.method == "POST"}
    assert {"/channels/{account}/webhook", "/channels/{account}/status", "/shops/{account}/webhook"} <= routes
    for door in sorted(doors):
        for body in BODIES:
            async with gw.session.post(gw.base + door, data=body) as answer:
                expected = {404, 405} if door.startswith("/shops") and door.endswith("status") else {401}
                assert answer.status in expected, (door, body)
    await gw.idle()
    assert gw.graph.sent == []
    assert not [name for name in await gw.gateway.store.command("KEYS", "*") if name.startswith((b"rec:", b"dead:"))]


async def test_the_same_door_takes_what_is_signed(gw):
    """The control: with its signature the same message gets in."""
    await gw.say("p1", "你好")
    await gw.said("p1", 1)
