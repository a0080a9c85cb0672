"""What a link, a log or another site learns of the person: nothing. With the shipped configuration, served as operators do."""

# ruff: noqa: S310  # only our own addresses are opened

from __future__ import annotations

import asyncio
import http.cookiejar
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request

import aiohttp
import pytest

from bot.access import create_token
from bot.codec import dump_entry
from bot.events import Event, StaffAsked
from tests.bot.test_cli import config, get, serving, touchpoint, url_of
from tests.console.test_api import Api
from tests.pages.visitor import LINK, PHONE, Visitor, at_phone, csrf, join, mark, newest_code, shop_with_pages

__all__ = ["config"]  # a fixture
PSID, NUMBER, NAME = "7001002003004005", "13900001234", "林小满"


class Browser:
    """A browser that keeps every URL it saw."""

    def __init__(self) -> None:
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.urls: list[str] = []
        self.text = ""

    def open(self, url: str, form: dict[str, str] | None = None) -> int:
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        self.urls.append(url)
        try:
            with self.opener.open(urllib.request.Request(url, data=data), timeout=5) as answer:
                self.text, status = answer.read().decode(), answer.status
                self.urls.append(answer.url)
        except urllib.error.HTTPError as error:
            self.text, status = error.read().decode(), error.code
        return status

    def send(self, url: str, **form: str) -> int:
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.text)
        return self.open(url, {"csrf": csrf[1] if csrf else "", **form})


def say(base: str, text: str, wanted: str, account: str = "messenger-main", id: str = PSID) -> str:
    """One message of a simulated phone; all that the shop said by then, once it holds what is wanted."""
    where = f"{base}/sandbox/phones/{account}/{urllib.parse.quote(id)}"
    request = urllib.request.Request(
        f"{where}/say", data=json.dumps({"text": text}).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=5):
        pass
    end = time.monotonic() + 10
    while wanted not in (found := json.dumps(get(f"{where}/messages"), ensure_ascii=False)):
        assert time.monotonic() < end, found
        time.sleep(0.05)
    return found


def code_text(base: str) -> str:
    """The newest code on the phone."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for account in ("sms-main", "sms-cn"):
            found = json.dumps(get(f"{base}/sandbox/phones/{account}/%2B86{NUMBER}/messages"), ensure_ascii=False)
            if codes := re.findall(r"验证码(\d{6})", found):
                return codes[-1]
        time.sleep(0.05)
    raise AssertionError("no code came")


def test_no_url_and_no_log_tells_of_the_person(config):
    """A member in the chat, every page and form, wrong links and wrong forms; then neither a URL nor a line of the log holds
    a number, a name, an address, a card number, and no log holds a link."""
    with serving(config):
        base, browser = url_of(config), Browser()
        say(base, "会员", "请发手机号")
        say(base, NUMBER, "验证码已发到")
        say(base, code_text(base), "会员卡已开通")
        link = re.findall(rf"{re.escape(base)}/b/[0-9A-Za-z]{{36}}", say(base, "会员", "都在这里"))[-1]
        assert browser.open(link) == 200
        assert browser.send(f"{link}/open") == 200
        card = re.search(r'class="number">([\d ]+)<', browser.text)[1]
        browser.open(f"{link}/profile")
        assert browser.send(f"{link}/profile", name=NAME, month="1", day="2") == 200
        for page in ("", "/wallet", "/orders", "/settings", "/sample", "/data", "/my-data.json", "/stop", "/nothing"):
            browser.open(link + page)
        browser.open(f"{link}/settings")
        browser.send(f"{link}/claim", campaign="RACE50")
        stranger = Browser()
        for bad in (link[:-1], f"{link}x", f"{link}/open"):
            stranger.open(bad)
        stranger.open(link)
        assert stranger.send(f"{link}/prove", code="000000") == 400
        assert stranger.send(f"{link}/settings") == 200  # the door: it shows no more than that
        assert NAME not in stranger.text
        browser.open(f"{base}/b/join")
        assert browser.send(f"{base}/b/join", number=NUMBER) == 200
        joined = browser.urls[-1]
        token = link.rpartition("/")[2]
        log = (config.parent / "out").read_text()
    told = [PSID, NUMBER, NAME, urllib.parse.quote(NAME), card, card.replace(" ", ""), "b_"]
    for url in [*browser.urls, *stranger.urls]:
        assert [word for word in told if word in url] == []
    assert log.count("{") > 5
    assert [word for word in (*told[:-1], token, joined.rpartition("/")[2]) if word in log] == []


async def test_the_cookie_is_for_these_pages_alone(valkey, redis_client, tmp_path):
    """By https only, where the shop is reached so; unseen by scripts; not sent from elsewhere; another one once let in."""
    async with shop_with_pages(valkey, tmp_path, public="https://shop.example") as found:
        await join(found, "p1")
        gateway = found.harness.gateway
        holder = await at_phone(found)
        path = "/b/" + gateway.links.token("chat", holder.id, 0, gateway.clock.now())
        async with Visitor(found.harness.base) as visitor:
            await visitor.get(path)
            cookie = visitor.headers["Set-Cookie"]
            assert cookie.startswith("tp_visit=")
            for word in ("HttpOnly", "Path=/b", "SameSite=Lax", "Secure", "Max-Age=1209600"):
                assert word in cookie
            before = cookie.partition(";")[0]
            async with visitor.session.post(
                found.harness.base + path + "/open",
                data={"csrf": csrf(visitor)},
                headers={"Cookie": before},
                allow_redirects=False,
            ) as answer:
                assert answer.status == 303
                assert before not in answer.headers["Set-Cookie"]  # what was fixed before is worth nothing
                assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_a_yes_on_the_page_is_what_marketing_needs(chat, inside, member):
    """Before the tick a marketing message is skipped, after it sent, after the button skipped again."""
    api = Api(chat.harness, await create_token(chat.harness.gateway.store, "shop", "owner"))
    id = (await at_phone(chat)).id

    async def outcome() -> tuple[str, str | None]:
        body = {"buyer": id, "purpose": "marketing", "text": "会员日", "accounts": ["messenger-main"]}
        status, answer = await api("POST", "/messages", body)
        assert status == 202
        await chat.harness.idle()
        found = (await api("GET", f"/messages/{answer['id']}"))[1]
        return found["state"], found["reason"]

    assert await outcome() == ("skipped", "no_consent")
    await inside.get(member + "/settings")
    await inside.send("/settings", tick=[mark(inside, "Messenger", "marketing")])
    assert (await outcome())[0] == "sent"
    await inside.send("/stop")
    assert await outcome() == ("skipped", "opted_out")


async def test_a_broadcast_carries_the_way_out(valkey, redis_client, tmp_path):
    """`{{ stop }}` is a link of the buyer's own: one button, and the next broadcast is skipped."""
    async with shop_with_pages(valkey, tmp_path, ledger=True) as chat:
        await join(chat, "p1")
        data = {"page": "settings", "locale": "zh-CN", "changes": [["messenger-main", "p1", "marketing", "granted"]]}
        holder = await at_phone(chat)
        event = Event("tick", holder.home, "page", 0, 0, StaffAsked("page_consent", "page", json.dumps(data).encode()))
        await chat.harness.gateway.appender.append([dump_entry(event)])
        await chat.harness.idle()
        api = Api(chat.harness, await create_token(chat.harness.gateway.store, "shop", "owner"))
        body = {"title": "会员日", "where": {"all": []}, "purpose": "marketing", "accounts": ["messenger-main"]}

        async def sent() -> dict:
            made = {**body, "text": {"zh-CN": "今天会员日。不想再收：{{ stop }} "}}
            status, found = await api("POST", "/broadcasts", made)
            assert status == 201, found
            status, answer = await api("POST", f"/broadcasts/{found['id']}/submit", {})
            assert status == 200, answer
            for _ in range(300):
                found = (await api("GET", f"/broadcasts/{found['id']}"))[1]
                if found["state"] == "done":
                    return found
                await asyncio.sleep(0.1)
            raise AssertionError(found)

        assert (await sent())["counts"]["sent"] == 1
        link = LINK.search(chat.harness.graph.texts("p1")[-1])[1]
        async with Visitor(chat.harness.base) as visitor:
            await visitor.get(link)
            assert visitor.text.count("<button") == 1
            await visitor.send("/stop")
            assert "已停发" in visitor.text
        assert (await sent())["skipped_by_reason"] == {"opted_out": 1}


async def test_many_guesses_at_once_are_five(chat, member):
    """Fifty codes tried in one moment: five are looked at, and the right one comes too late."""
    await chat.harness.advance(3601)
    async with Visitor(chat.harness.base) as visitor:
        await visitor.get(member)
        before = len(chat.twilio.forms)
        await visitor.send("/code")
        digits = await newest_code(chat, before)
        wrong = [f"{n:06d}" for n in range(60) if f"{n:06d}" != digits][:50]
        url, token = chat.harness.base + member + "/prove", csrf(visitor)

        async def guess(code: str) -> int:
            async with visitor.session.post(url, data={"csrf": token, "code": code}) as answer:
                return answer.status

        assert set(await asyncio.gather(*map(guess, wrong))) == {400}
        assert await guess(digits) == 400


async def test_while_nothing_is_stored_the_page_says_so(chat, inside, member):
    """Shut, or away: 503 with words, nothing lost that was said to be saved."""
    door = chat.harness.gateway.door
    await inside.get(member + "/profile")
    door.shut("memory", "memory is full")
    await inside.send("/profile", name="小满")
    door.open("memory")
    assert inside.status == 503
    assert "还没有保存" in inside.text
    assert inside.headers["Retry-After"] == "30"
    await chat.harness.gateway.store.client.execute_command("CLIENT", "PAUSE", 2600, "ALL")
    await inside.get(member)
    assert inside.status == 503
    assert "还没有保存" in inside.text
    for _ in range(100):
        if (await inside.get(member)).status == 200:
            break
        await asyncio.sleep(0.1)
    assert inside.status == 200
    assert (await at_phone(chat)).name == ""


async def test_who_types_a_members_number_learns_nothing(chat, member):
    """The page for joining answers the same for a member's number and for anybody's; the card opens by the code alone."""
    found = await at_phone(chat)
    async with Visitor(chat.harness.base) as visitor:
        shown = []
        for number in ("13900001234", "13900005678"):
            await visitor.get("/b/join")
            await visitor.send("/b/join", number=number)
            assert visitor.status == 200
            text = re.sub(r"/b/[0-9A-Za-z]{36}|value=\"[0-9a-f]{32}\"", "", visitor.text)
            shown.append(text.replace(number[-4:], "0000"))
            assert found.member.number[-4:] not in visitor.text
        assert shown[0] == shown[1]
        await visitor.get("/b/join")
        before = len(chat.twilio.forms)
        await visitor.send("/b/join", number="13900001234")
        await visitor.send("/prove", code=await newest_code(chat, before))
        assert found.member.number in visitor.text.replace(" ", "")
        async with Visitor(chat.harness.base) as other:  # the address is not enough, though it is fresh
            await other.get(visitor.path)
            assert other.status == 200
            assert 'action="/b/' in other.text
            assert '/open"' not in other.text
    assert (await at_phone(chat)).member == found.member
    assert PHONE in (await at_phone(chat)).phones


async def test_who_types_a_members_number_changes_nothing(chat, inside, member):
    """Anybody can type a number: what that leads to ends nobody's marketing, and does not speak the owner's language."""
    await inside.get(member + "/settings")
    await inside.send("/settings", tick=[mark(inside, "Messenger", "marketing"), mark(inside, "1234", "marketing")])
    before = await at_phone(chat)
    assert before.locale == "zh-CN"
    async with Visitor(chat.harness.base) as visitor:
        english = {"headers": {"Accept-Language": "en"}}
        await visitor.get("/b/join", **english)
        number = aiohttp.FormData({"csrf": csrf(visitor), "number": PHONE})
        await visitor._take("POST", "/b/join", data=number, **english)
        assert visitor.status == 200
        assert '<html lang="en">' in visitor.text
        path = visitor.path.partition("?")[0]
        for method in ("GET", "POST"):
            assert (await visitor._take(method, path + "/stop")).status == 404
    after = await at_phone(chat)
    assert [a.consent for a in after.addresses] == [a.consent for a in before.addresses]
    assert not any(a.opted_out for a in after.addresses)


def test_links_are_ended_from_the_command_line(config):
    """`links rotate --forget`: it says what it did; the next start has a key."""
    done = touchpoint("links", "rotate", "--forget", "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "old ones end within a minute" in done.stdout


@pytest.mark.parametrize(
    "path", ["/b/", "/b//", "/b/%2e%2e/x", "/b/x/../../metrics", "/b/" + "é" * 36, "/b/" + "0" * 5000]
)
async def test_odd_paths_are_pages_not_errors(chat, path):
    """Never a 5xx."""
    async with Visitor(chat.harness.base) as visitor:
        assert (await visitor.get(path)).status in (200, 404)
