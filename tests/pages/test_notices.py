"""The page on which WeChat's buyers allow single notices: signed for its URL, with WeChat's script allowed there and nowhere else."""

from __future__ import annotations

import asyncio
import html
import json
import re
import time

import pytest
from structlog.testing import capture_logs

from bot.locales import LOCALES
from bot.tokens import RedisTokens
from channels.wechat.api import Api
from channels.wechat.jssdk import signature
from pages import leave
from pages.words import say
from tests.channels.lend import provider
from tests.channels.wechat.peer import WeChatPeer, account
from tests.e2e.test_subscriptions import NOTICES, REVIEW, SHIPPED, Leaves
from tests.e2e.texting import PUBLIC
from tests.pages.visitor import Visitor, shop_with_pages

ONE = "oFAKEbuyer0001"
INSIDE = {"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0) Mobile/15E148 MicroMessenger/8.0.49(0x18003137)"}
LINK = re.compile(rf"{re.escape(PUBLIC)}(/b/[0-9A-Za-z]{{36}})")


@pytest.fixture
async def wechat(valkey, redis_client, tmp_path):
    peer = WeChatPeer()
    async with provider(peer) as (base, _), shop_with_pages(valkey, tmp_path, account(base) + NOTICES) as shop:
        yield Leaves(shop.harness, peer, shop.twilio)


async def link_of(wechat) -> str:
    """The path of the link that a member's chat is given."""
    await wechat.join(ONE)
    for text in await wechat.ask(ONE, "会员"):
        if found := LINK.search(text):
            return found[1]
    raise AssertionError("no link was given")


async def test_inside_wechat_the_page_is_signed_for_its_own_url(wechat):
    """Exactly what the browser shows, query and all, by the shared ticket; other pages of the buyer allow no script."""
    link = await link_of(wechat)
    async with Visitor(wechat.harness.base) as visitor:
        await visitor.get(link)
        await visitor.send("/open")
        for where in ("/notices", "/notices?lang=en"):
            await visitor.get(link + where, headers=INSIDE)
            config = json.loads(html.unescape(re.search(r'data-config="([^"]+)"', visitor.text)[1]))
            url = PUBLIC + link + where
            expected = signature("TICKET-1", config["nonceStr"], config["timestamp"], url)
            assert (config["signature"], config["appId"]) == (expected, "wx00aa11bb22cc33dd")
            assert abs(config["timestamp"] - time.time()) < 60
            policy = dict(part.strip().split(" ", 1) for part in visitor.headers["Content-Security-Policy"].split(";"))
            assert policy["script-src"].split(" ", 1)[1] == "https://res.wx.qq.com/open/js/jweixin-1.6.0.js"
            assert policy["frame-src"] == "https://*.qq.com webcompt:"
            assert policy["default-src"] == "'none'"
            assert "connect-src" not in policy
            assert [one in visitor.text for one in (SHIPPED, REVIEW)] == [True, True]
        assert wechat.peer.tickets == 1
        for where in ("", "/settings", "/orders", "/wallet"):
            await visitor.get(link + where, headers=INSIDE)
            assert visitor.status == 200, (where, visitor.text)
            assert "<script" not in visitor.text
            assert "script-src" not in visitor.headers["Content-Security-Policy"]
            assert ('/notices"' in visitor.text) == (where in ("/settings", "/orders"))


async def test_elsewhere_it_says_where_it_works(wechat):
    """No button, no script, no call of WeChat's; what was allowed is shown all the same."""
    await wechat.event(ONE, "subscribe")
    await wechat.allow(ONE, times=2)
    link = await link_of(wechat)
    async with Visitor(wechat.harness.base) as visitor:
        await visitor.get(link)
        await visitor.send("/open")
        await visitor.get(f"{link}/notices")
        assert "手机微信里打开" in visitor.text
        assert "已允许 2 条" in visitor.text
        assert "<script" not in visitor.text
        assert "<wx-open-subscribe" not in visitor.text
        assert wechat.peer.tickets == 0


async def test_without_a_ticket_the_page_stays_whole(wechat):
    """WeChat refuses or is slow: a calm line, no button, and nothing of ticket or token in the log; then it works again."""
    link = await link_of(wechat)
    async with Visitor(wechat.harness.base) as visitor:
        await visitor.get(link)
        await visitor.send("/open")
        wechat.peer.answers = [48001]
        with capture_logs() as lines:
            await visitor.get(f"{link}/notices", headers=INSIDE)
        assert (visitor.status, "暂时没有加载出来" in visitor.text) == (200, True)
        assert "<wx-open-subscribe" not in visitor.text
        assert [line["code"] for line in lines if line["event"] == "page not signed"] == ["48001"]
        assert wechat.peer.token not in str(lines)
        await visitor.get(f"{link}/notices", headers=INSIDE)
        assert "<wx-open-subscribe" in visitor.text
        assert "TICKET" not in visitor.text


async def test_a_slow_wechat_holds_no_page_up(wechat, monkeypatch):
    """The page goes without a button; the ticket that comes later serves the next one."""
    monkeypatch.setattr(leave, "PATIENCE_S", 0.3)
    link = await link_of(wechat)
    async with Visitor(wechat.harness.base) as visitor:
        await visitor.get(link)
        await visitor.send("/open")
        wechat.peer.answers = ["slow"]
        await visitor.get(f"{link}/notices", headers=INSIDE)
        assert (visitor.status, "暂时没有加载出来" in visitor.text) == (200, True)
        end = time.monotonic() + 20
        while "<wx-open-subscribe" not in visitor.text:
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
            await visitor.get(f"{link}/notices", headers=INSIDE)
    assert wechat.peer.tickets == 1


def test_every_notice_has_its_words():
    """In each language; a wording that nobody thought of is about the orders."""
    for locale in LOCALES:
        assert [say(locale, f"notices.about_{one}") for one in {*leave.ABOUT.values(), "other"}]


async def test_many_pages_at_once_ask_for_one_ticket(wechat):
    """One refresher; everybody else waits for what it gets, another process, too."""
    link = await link_of(wechat)
    async with Visitor(wechat.harness.base) as visitor:
        await visitor.get(link)
        await visitor.send("/open")
        cookies = visitor.session.cookie_jar
        url = f"{wechat.harness.base}{link}/notices"

        async def once() -> bool:
            headers = {**INSIDE, "Cookie": "; ".join(f"{one.key}={one.value}" for one in cookies)}
            async with wechat.harness.session.get(url, headers=headers) as answer:
                return "<wx-open-subscribe" in await answer.text()

        assert all(await asyncio.gather(*(once() for _ in range(8))))
    gateway = wechat.harness.gateway
    others = RedisTokens(gateway.store.scripts, gateway.clock)  # as another process has them
    api = Api(gateway.settings.channels["wechat-main"], gateway.http, others, gateway.clock)
    assert await api.ticket() == "TICKET-1"
    assert wechat.peer.tickets == 1


async def test_nothing_to_allow_is_no_page(valkey, redis_client, tmp_path):
    """An account without such templates, or a buyer without an address there: neither link nor page."""
    peer = WeChatPeer()
    notices = NOTICES.replace('kind = "subscription"', "")
    async with provider(peer) as (base, _), shop_with_pages(valkey, tmp_path, account(base) + notices) as shop:
        wechat = Leaves(shop.harness, peer, shop.twilio)
        link = await link_of(wechat)
        async with Visitor(wechat.harness.base) as visitor:
            await visitor.get(link)
            await visitor.send("/open")
            await visitor.get(f"{link}/settings", headers=INSIDE)
            assert "/notices" not in visitor.text
            await visitor.get(f"{link}/notices", headers=INSIDE)
            assert visitor.status == 404
    assert peer.tickets == 0
