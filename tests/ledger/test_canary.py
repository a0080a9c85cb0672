"""A canary in every field and in every kind of event, on three channels: after the erasure it is nowhere, in no store and no file.

The embedded server and its append-only file, the ledger on both databases, logs, everything below the data's folder. Before
the erasure the canary is found in each of them: the search finds what is there.
"""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from sqlalchemy import select

from bot import keys
from bot.access import create_token
from bot.embedded import EmbeddedServer
from ledger import batch, schema
from ledger import tables as t
from ledger.database import database_url, open_engine, reading, writing
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.channels.wechat import peer as wechat
from tests.e2e.texting import Sms
from tests.e2e.wechat import WeChat
from tests.gateway import rfc, running

PSID, OPENID, PHONE = "7710088124450001", "oCanaryRuanQinghe000000001", "+8613911110088"
NAME, MAIL, SAID, TAG, SIZE = "阮清和", "ruan.qinghe@canary.test", "金丝雀说的话", "canary-tag", "canary-size"
EVIDENCE, TOLD, NOTE, REF, BIRTHDAY = "canary-form-12", "金丝雀收到的话", "canary-note", "canary-ref-77", "1987-06-05"
STREET, CART, PAY = "金丝雀街88号", "canary-cart-key", "canary-pay-key"
CANARIES = (PSID, OPENID, PHONE, NAME, MAIL, SAID, TAG, SIZE, EVIDENCE, TOLD, NOTE, REF, BIRTHDAY, CART, PAY)


OFTEN = "marketing_per_day = 9\nmarketing_per_week = 9"

NOT_DERIVED = ("facts", "positions", "journal", "audiences", "frozen", "segments", "ways")  # ways name nobody, and stay


class World:
    """A gateway on an embedded server, with three channels and a shop."""

    def __init__(self, gw, folder: Path, url: str, chat: WeChat, sms: Sms, token: str) -> None:
        self.gw, self.folder, self.url, self.chat, self.sms = gw, folder, url, chat, sms
        self.headers = {"Authorization": f"Bearer {token}"}

    async def api(self, method: str, path: str, body=None, status: int = 200):
        async with self.gw.session.request(
            method, f"{self.gw.base}/api/v1{path}", json=body, headers=self.headers
        ) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json(content_type=None) if "json" in answer.content_type else await answer.text()

    async def until(self, look, what: str, seconds: float = 40):
        end = time.monotonic() + seconds
        while not (found := await look()):
            assert time.monotonic() < end, what
            await asyncio.sleep(0.1)
        return found


@pytest.fixture
async def world(tmp_path, ledger_url, capfd):
    twilio, peer = TwilioPeer(), wechat.WeChatPeer()
    embedded = EmbeddedServer(tmp_path / "var" / "valkey")
    embedded.ensure()  # adopted by the gateway
    server = SimpleNamespace(url="embedded:var/valkey")
    async with provider(twilio) as (twilio_base, _), provider(peer) as (wechat_base, _):
        extra = f'{account(twilio_base)}\n{wechat.account(wechat_base)}\n[ledger]\nurl = "{ledger_url}"\n'
        try:
            async with running(server, tmp_path, extra=extra, ledger=True, policy=OFTEN) as gw:
                # Compressed, the file could not be searched.
                await gw.gateway.store.client.config_set("rdbcompression", "no")
                token = await create_token(gw.gateway.store, "canary", "owner")
                yield World(gw, tmp_path, ledger_url, WeChat(gw, peer, twilio), Sms(gw, twilio, None), token)
        finally:
            embedded.process.terminate()
            embedded.process.wait()


async def live(world: World) -> str:
    """Somebody lives through everything; answers the id."""
    gw, chat, sms = world.gw, world.chat, world.sms
    facts = {
        "ref": REF, "name": NAME, "phones": [PHONE], "phone": PHONE, "email": MAIL, "locale": "zh-CN",
        "address": f"wechat-main:{OPENID}",
    }  # fmt: skip
    await chat.event(OPENID, "subscribe")
    await chat.quiet()
    await chat.join(OPENID, PHONE)
    await chat.say(OPENID, SAID)
    await sms_says(sms, SAID)
    await gw.say(PSID, f"{SAID}，找人工")
    await gw.say(PSID, "人工")
    await gw.idle()
    order = {
        "id": "88", "number": "#88", "pay_state": "unpaid", "total": {"amount": "188.00", "currency": "CNY"}, "placed_at": rfc(time.time()),
        "pay_url": f"https://shop.example/pay/{PAY}", "items": [{"title": "衬衫", "qty": 1, "sku": "S-1"}],
        "shipping": {"city": "广州", "street": STREET},
    }  # fmt: skip
    paid = {**order, "pay_state": "paid", "paid_at": rfc(time.time())}
    parcel = {"id": "s88", "carrier": "sf", "tracking_no": "SF88", "state": "in_transit"}
    checkout = {
        "token": "ct88",
        "items": order["items"],
        "total": order["total"],
        "recover_url": f"https://shop.example/?key={CART}",
    }
    for kind, data in (
        ("order.created", {"order": order, "buyer": facts}),
        ("order.paid", {"order": paid, "buyer": facts}),
        ("shipment.created", {"order": {"id": "88"}, "buyer": facts, "shipment": parcel}),
        ("checkout.updated", {"checkout": {**checkout, "updated_at": rfc(time.time())}, "buyer": facts}),
        (
            "refund.requested",
            {
                "order": {"id": "88"},
                "buyer": facts,
                "refund": {"id": "r88", "kind": "return_refund", "amount": order["total"]},
            },
        ),
    ):
        status, text = await gw.shop(kind, f"canary-{kind}", data)
        assert status < 300, text
    await gw.idle()
    buyer = (await world.api("GET", f"/buyers?address=wechat-main:{OPENID}"))["items"][0]["id"]
    other = (await world.api("GET", f"/buyers?address=messenger-main:{PSID}"))["items"][0]["id"]
    if other != buyer:
        await world.api("POST", f"/buyers/{other}/merge", {"into": buyer}, 202)

    async def one() -> str:
        found = [
            (await world.api("GET", f"/buyers?address={a}"))["items"][0]["id"]
            for a in (f"wechat-main:{OPENID}", f"messenger-main:{PSID}")
        ]
        return found[0] if found[0] == found[1] else ""

    buyer = await world.until(one, "one buyer")
    path = f"/buyers/{buyer}"
    profile = {"name": NAME, "birthday": BIRTHDAY, "tags": [TAG], "sizes": {"top": SIZE}}
    await world.api("PATCH", path, profile)
    consent = {
        "account": "messenger-main",
        "id": PSID,
        "topic": "marketing",
        "verdict": "granted",
        "evidence": EVIDENCE,
    }
    await world.api("POST", f"{path}/consents", consent, 202)
    for purpose in ("service", "marketing"):
        await world.api("POST", "/messages", {"buyer": buyer, "purpose": purpose, "text": f"{NAME}，{TOLD}"}, 202)
    for found in re.findall(r"/b/[0-9A-Za-z]{36}", "".join(chat.peer.texts(OPENID))):  # the link in the chat is opened
        async with gw.session.get(gw.base + found, allow_redirects=True) as page:
            assert page.status == 200
    tasks = [task for task in (await world.api("GET", f"/tasks?buyer={buyer}"))["items"] if task["state"] == "open"]
    if tasks:
        await world.api("POST", f"/tasks/{tasks[0]['id']}/complete", {"outcome": "done", "note": NOTE})
    await gw.idle()
    await gw.projected()
    return buyer


async def broadcast(world: World, words: str) -> str:
    """A member day to everybody, in a variant that names its reader."""
    body = {
        "title": "会员日", "where": {"all": []}, "purpose": "marketing", "accounts": ["messenger-main"],
        "text": {"zh-CN": f"会员日。{words}"}, "variants": [{"name": "named", "text": {"zh-CN": "{{ name }}，" + words}}],
    }  # fmt: skip
    made = await world.api("POST", "/broadcasts", body, 201)
    await world.api("POST", f"/broadcasts/{made['id']}/submit", {}, 200)
    return made["id"]


async def broadcasts(world: World, buyer: str) -> tuple[str, str]:
    """One that reached the buyer, and one that is held with its message queued and its audience frozen."""
    sent = await broadcast(world, "第一次")

    async def is_done() -> bool:
        return (await world.api("GET", f"/broadcasts/{sent}"))["state"] == "done"

    await world.until(is_done, "a broadcast ends")
    assert f"{NAME}，第一次" in world.gw.graph.texts(PSID)
    world.gw.graph.script[:] = ["429"] * 200  # the provider takes nothing more: it waits
    held = await broadcast(world, "第二次")

    async def is_queued() -> bool:
        found = (await world.api("GET", f"/messages?buyer={buyer}&broadcast={held}"))["items"]
        return any(one["state"] == "queued" and NAME in one["text"] for one in found)

    await world.until(is_queued, "a message of the broadcast waits")
    await world.api("POST", f"/broadcasts/{held}/pause", {}, 200)
    async with world.gw.gateway.history.connection() as connection:
        rows = list(await connection.execute(select(t.audiences).where(t.audiences.c.broadcast == held)))
    assert [row.buyer for row in rows] == [buyer]
    assert found_in(rows[0].home.encode())  # an address of the buyer's
    return sent, held


async def sms_says(sms: Sms, text: str) -> None:
    await sms.say(text, From=PHONE)


# --- where it may be --------------------------------------------------------------------------------------------------


def forms(word: str) -> set[bytes]:
    """How a word may stand: as it is, as JSON escapes it, as a URL does, as hex in a dump."""
    from urllib.parse import quote

    plain = word.encode()
    escaped = word.encode("ascii", "backslashreplace")
    return {plain, escaped, quote(word, safe="").encode(), plain.hex().encode()}


def found_in(data: bytes, words: tuple[str, ...] = CANARIES) -> set[str]:
    return {word for word in words if any(form in data for form in forms(word))}


def redis_holds(world: World, wanted: tuple[str, ...] = CANARIES) -> dict[str, set[str]]:
    """Every key that holds one, by typed reads."""
    client = redis.Redis(unix_socket_path=EmbeddedServer(world.folder / "var" / "valkey").socket)
    found = {}
    for name in client.scan_iter(count=1000):
        match client.type(name):
            case b"string":
                parts = [client.get(name) or b""]
            case b"hash":
                parts = [part for pair in client.hgetall(name).items() for part in pair]
            case b"list":
                parts = client.lrange(name, 0, -1)
            case b"set":
                parts = list(client.smembers(name))
            case b"zset":
                parts = client.zrange(name, 0, -1)
            case b"stream":
                parts = [part for _, fields in client.xrange(name) for pair in fields.items() for part in pair]
            case b"none":  # gone meanwhile
                continue
            case other:
                raise AssertionError(other)
        if words := found_in(b"\n".join([name, *parts]), wanted):
            found[name.decode()] = words
    client.close()
    return found


def files_hold(world: World, wanted: tuple[str, ...] = CANARIES) -> dict[str, set[str]]:
    """Every file below the data's folder that holds one: append-only files, SQLite's, whatever else lies there."""
    return {
        str(path.relative_to(world.folder)): words
        for path in world.folder.rglob("*")
        if path.is_file() and (words := found_in(path.read_bytes(), wanted))
    }


def dump_holds(world: World, request, wanted: tuple[str, ...] = CANARIES) -> set[str]:
    """What pg_dump writes of a PostgreSQL ledger."""
    if not world.url.startswith("postgresql"):
        return set()
    return found_in(request.getfixturevalue("postgresql").dump(world.url).encode(), wanted)


async def derived(world: World) -> dict[str, list]:
    """All derived tables."""
    found = {}
    async with world.gw.gateway.history.connection() as connection:
        for table in t.metadata.sorted_tables:
            if table.name not in NOT_DERIVED:
                found[table.name] = sorted(map(tuple, await connection.execute(select(table))), key=repr)
    return found


@pytest.mark.timeout(150)
async def test_after_an_erasure_the_canary_is_nowhere(world, request, capfd) -> None:
    buyer = await live(world)
    reached, paused = await broadcasts(world, buyer)
    await world.gw.projected()
    export = await world.api("GET", f"/buyers/{buyer}/export")
    assert found_in(repr(export).encode()) == set(CANARIES) - {CART}  # a cart is told of by what came of it
    # The control: each store holds it, and the search finds it there.
    before = redis_holds(world)
    assert set().union(*before.values()) == set(CANARIES)
    held = files_hold(world)
    assert any("appendonly" in name and words == set(CANARIES) for name, words in held.items()), held
    if world.url.startswith("sqlite"):
        ledger = set().union(*(words for name, words in held.items() if "ledger.db" in name))
    else:
        ledger = dump_holds(world, request)
    assert ledger == set(CANARIES)
    found = await world.gw.gateway.queries.buyer(buyer)
    card = (found.member.number,)  # drawn, so it is looked for apart
    letter = f"a webhook that nobody could read names the card {card[0]}"
    await world.gw.gateway.store.command("XADD", keys.dead(3), "*", "k", "webhook", "b", letter)
    assert redis_holds(world, card)
    assert any("appendonly" in name for name in files_hold(world, card))
    assert dump_holds(world, request, card) or any("ledger.db" in name for name in files_hold(world, card))
    counts = {name: len(rows) for name, rows in (await derived(world)).items()}

    await world.api("DELETE", f"/buyers/{buyer}", status=202)
    store = world.gw.gateway.store

    async def erased() -> bool:
        return not await store.command("HLEN", "erasing") and not await store.command("EXISTS", "erasing:rewrite")

    await world.until(erased, "the erasure ends", 90)
    everything = (*CANARIES, *card)
    assert redis_holds(world, everything) == {}
    assert files_hold(world, everything) == {}
    assert dump_holds(world, request, everything) == set()
    out, err = capfd.readouterr()
    assert found_in((out + err).encode()) == set()
    assert await world.api("GET", f"/buyers/{buyer}") == {"id": buyer, "erased": True}
    assert (await world.api("GET", f"/buyers/{buyer}/timeline"))["items"] == []
    assert (await world.api("GET", f"/messages?buyer={buyer}"))["items"]
    assert {(m["text"], m["to"]) for m in (await world.api("GET", f"/messages?buyer={buyer}"))["items"]} == {("", None)}
    assert not re.search(r"[\u4e00-\u9fff]", str((await world.api("GET", f"/decisions?buyer={buyer}"))["items"]))
    # Both broadcasts balance; of the one that was held nothing is left to send.
    for id, ended in ((reached, {"sent": 1}), (paused, {"skipped": 1})):
        counts_of = (await world.api("GET", f"/broadcasts/{id}"))["counts"]
        assert counts_of["planned"] == 1, counts_of
        assert counts_of["pending"] == 0, counts_of
        assert {name: counts_of[name] for name in ended} == ended
    said = len(world.gw.graph.texts(PSID))
    world.gw.graph.script.clear()
    resume = f"{world.gw.base}/api/v1/broadcasts/{paused}/resume"
    async with world.gw.session.post(resume, json={}, headers=world.headers) as answer:
        assert answer.status in (200, 409)  # with every partition planned it has ended by itself

    async def is_over() -> bool:
        return (await world.api("GET", f"/broadcasts/{paused}"))["state"] == "done"

    await world.until(is_over, "the broadcast ends")
    assert len(world.gw.graph.texts(PSID)) == said
    await world.gw.projected()
    assert redis_holds(world) == {}
    # What counts still counts, and what is derived anew is the same: no rebuild brings anybody back.
    after = await derived(world)
    for name in ("messages", "history", "decisions", "coupons", "orders", "items", "tasks"):
        assert len(after[name]) >= counts[name], name
    assert await anew(world) == after


@pytest.mark.timeout(150)
async def test_a_shop_may_ask_for_it(world, request) -> None:
    """`privacy.redact_customer` forgets as the API does: everywhere, not in the record alone."""
    buyer = await live(world)
    assert redis_holds(world)
    facts = {"ref": REF, "phones": [PHONE], "phone": PHONE, "email": MAIL}
    status, text = await world.gw.shop("privacy.redact_customer", "canary-redact", {"buyer": facts})
    assert status < 300, text

    async def erased() -> bool:
        found = await world.api("GET", f"/buyers/{buyer}")
        store = world.gw.gateway.store
        busy = [await store.command("EXISTS", f"erasures:{{p{p:02d}}}") for p in range(64)]
        return found.get("erased") and not any(busy) and not await store.command("EXISTS", "erasing", "erasing:rewrite")

    await world.until(erased, "the erasure ends", 90)
    assert redis_holds(world) == {}
    assert files_hold(world) == {}
    assert dump_holds(world, request) == set()


async def anew(world: World) -> dict[str, list]:
    """All derived tables, from the raw rows alone."""
    engine = open_engine(database_url(f"sqlite:{world.folder}/anew.db", Path("/")), writer=True)
    await schema.migrate(engine)
    async with world.gw.gateway.history.connection() as connection:
        order = (t.journal.c.partition, t.journal.c.ms, t.journal.c.seq)
        raw = [
            tuple(row)
            for row in await connection.execute(select(*order, t.journal.c.kind, t.journal.c.body).order_by(*order))
        ]
    async with writing(engine) as connection:
        assert await batch.derive(connection, raw, "CNY") == 0
    found = {}
    async with reading(engine) as connection:
        for table in t.metadata.sorted_tables:
            if table.name not in NOT_DERIVED:
                found[table.name] = sorted(map(tuple, await connection.execute(select(table))), key=repr)
    await engine.dispose()
    return found
