"""A running gateway with an SMS line, and a browser without a browser: cookies, forms, redirects."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import Self

import aiohttp

from bot import subjects
from bot.records import Buyer
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.e2e.test_chat import ask, buyer, code, join
from tests.e2e.texting import PUBLIC, Sms
from tests.gateway import running

LINK = re.compile(rf"{re.escape(PUBLIC)}(/b/[0-9A-Za-z]{{36}})(?![0-9A-Za-z])")
PHONE = "+8613900001234"

__all__ = ["LINK", "PHONE", "Visitor", "ask", "buyer", "code", "join", "shop_with_pages"]


@asynccontextmanager
async def shop_with_pages(valkey, tmp_path, extra: str = "", *, public: str = PUBLIC, ledger: bool = False):
    """A gateway that knows its public address."""
    twilio = TwilioPeer()
    async with (
        provider(twilio) as (base, _),
        running(
            valkey, tmp_path, extra=account(base) + extra, server=f'public_url = "{public}"', ledger=ledger
        ) as harness,
    ):
        yield Sms(harness, twilio, None)


class Visitor:
    """One browser: keeps cookies, follows redirects, sends the forms that it was shown."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.status, self.text, self.path = 0, "", ""
        self.headers: dict[str, str] = {}
        self.seen: list[str] = []  # every URL

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()

    async def _take(self, method: str, path: str, **more) -> Visitor:
        headers = {"Accept-Language": "zh-CN", **more.pop("headers", {})}
        async with self.session.request(method, self.base + path, headers=headers, **more) as answer:
            self.status, self.text = answer.status, await answer.text()
            self.headers, self.path = dict(answer.headers), answer.url.path_qs
            self.seen += [str(one.url) for one in answer.history] + [str(answer.url)]
        return self

    async def get(self, path: str, **more) -> Visitor:
        return await self._take("GET", path, **more)

    async def send(self, action: str, *, without: tuple[str, ...] = (), **fields) -> Visitor:
        """Sends the form of the page at `…/action`, with its hidden fields and ticks as shown, and these changed."""
        found = next(
            body
            for where, body in re.findall(r'<form method="post" action="([^"]+)">(.*?)</form>', self.text, re.DOTALL)
            if where.endswith(action)
        )
        where = re.search(rf'action="([^"]*{re.escape(action)})"', self.text)[1]
        pairs = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', found)
        pairs += [
            (re.search(r'name="([^"]+)"', one)[1], re.search(r'value="([^"]*)"', one)[1])
            for one in re.findall(r"<input[^>]*checked[^>]*>", found)
        ]
        for name, value in fields.items():
            if not isinstance(value, list):
                pairs = [pair for pair in pairs if pair[0] != name]
            pairs += [(name, one) for one in (value if isinstance(value, list) else [value])]
        pairs = [pair for pair in pairs if pair[0] not in without and pair[1] not in without]
        return await self._take("POST", where, data=aiohttp.FormData(pairs))


async def link_of(chat, psid: str, words: str = "会员") -> str:
    """The path of the link that the chat's answer holds."""
    for text in await ask(chat, psid, words):
        if found := LINK.search(text):
            return found[1]
    raise AssertionError("no link was given")


async def at_phone(chat) -> Buyer | None:
    """Whose number it is."""
    await chat.harness.idle()
    return await chat.harness.gateway.queries.buyer_at(subjects.phone(PHONE))


async def newest_code(chat, before: int) -> str:
    """The code of the next text after `before` texts."""
    for _ in range(500):
        for form in chat.twilio.forms[before:]:
            if found := re.search(r"(?<!\d)\d{6}(?!\d)", form["Body"]):
                return found[0]
        await asyncio.sleep(0.01)
    raise AssertionError("no code was sent")


def mark(visitor: Visitor, account: str, topic: str) -> str:
    """The tick of a topic at the chat or the number."""
    boxes = re.findall(r'<fieldset class="box">(.*?)</fieldset>', visitor.text, re.DOTALL)
    box = next(one for one in boxes if account in one)
    return re.search(rf'name="tick" value="([^"]+\.{topic})"', box)[1]


def csrf(visitor: Visitor) -> str:
    """The token of the form that is shown."""
    return visitor.text.partition('name="csrf" value="')[2].partition('"')[0]
