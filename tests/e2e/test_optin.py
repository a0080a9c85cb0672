"""Marketing reaches nobody without a recorded opt-in, whatever is tried in whatever order: a model of who agreed watches.

The model knows nothing of records and policy: it hears what the buyers and the shop said at the front door, and looks at what
the providers were handed. Caps and hours are off, so that nothing else stands in the way.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import bootstrap, ids, keys
from bot.access import create_token
from bot.broadcasts import Broadcast
from bot.codec import dump_entry, load_message
from bot.events import BroadcastDue, Event
from bot.records import Buyer
from bot.visits import Visits, digest
from pages.visit import COOKIE, csrf_of
from tests.audiences import FileAudiences
from tests.channels.lend import provider
from tests.channels.twilio.peer import TwilioPeer, account
from tests.e2e.texting import Sms
from tests.gateway import rfc, running

PEOPLE = (0, 1, 2)
LANES = ("messenger-main", "sms-main")
_person = itertools.count(1)
who, lane = st.sampled_from(PEOPLE), st.sampled_from(LANES)
ACTIONS = st.one_of(
    st.tuples(st.just("hello"), who, lane),
    st.tuples(st.just("in"), who, lane),
    st.tuples(st.just("out"), who, lane),
    st.tuples(st.just("repeat"), who, lane),
    st.tuples(st.just("shop"), who, st.sampled_from(["yes", "no", "unknown"])),
    st.tuples(st.just("rest"), who, lane),
    st.tuples(st.sampled_from(["ticks", "unticks", "stops"]), who, lane),
    st.tuples(st.just("merge"), who, who),
    st.tuples(st.just("erase"), who, st.none()),
    st.tuples(st.just("patch"), who, st.none()),
    st.tuples(st.just("test"), who, st.none()),
    st.tuples(st.sampled_from(["broadcast", "replay", "hour"]), st.just(0), st.none()),
)


@dataclass
class Model:
    """Who agreed, as far as anybody outside can know. An address may get marketing only if it is in `agreed`."""

    agreed: set[tuple[str, str]] = field(default_factory=set)
    out: set[tuple[str, str]] = field(default_factory=set)

    def say(self, address: tuple[str, str], group: set[tuple[str, str]], *, agrees: bool) -> None:
        """In by word lifts the opt-out everywhere and agrees here; out by word is out everywhere."""
        if agrees:
            self.out -= group
            self.agreed.add(address)
        else:
            self.out |= group
            self.agreed -= group

    def join(self, groups: list[set[tuple[str, str]]]) -> None:
        """Two who turn out to be one: an opt-out of either is of both."""
        for group in groups:
            if group & self.out:
                self.out |= group
                self.agreed -= group


class World:
    """Three new people on two lanes, at a gateway that has run for a while."""

    def __init__(self, gw, sms: Sms, audiences: FileAudiences, token: str, model: Model) -> None:
        self.gw, self.sms, self.audiences = gw, sms, audiences
        self.headers = {"Authorization": f"Bearer {token}"}
        self.model = model  # those who were here before may still have something coming
        base = next(_person) * 10
        self.addresses = {
            (person, "messenger-main"): ("messenger-main", str(500_000 + base + person)) for person in PEOPLE
        } | {(person, "sms-main"): ("sms-main", f"+86139{10_000_000 + base + person}") for person in PEOPLE}
        self.seen = (len(gw.graph.sent), len(sms.twilio.forms))
        self.broadcasts: list[Broadcast] = []

    # --- what is tried --------------------------------------------------------------------------------------------

    async def do(self, what: str, person: int, arg: object) -> None:
        match what:
            case "hello" | "in" | "out":
                await self._say(person, str(arg), {"hello": "你好", "in": "恢复", "out": "退订"}[what])
                if what != "hello":
                    mine = self.addresses[person, str(arg)]
                    self.model.say(mine, await self._group(mine), agrees=what == "in")
            case "repeat":
                await self._say(person, str(arg), "你好", again=True)
            case "shop":
                await self._shop(person, str(arg))
            case "rest":
                name, id = self.addresses[person, str(arg)]
                buyer = await self._buyer((name, id))
                target = {"phone": id} if name == "sms-main" else {"buyer": buyer.id if buyer else "b_nobody"}
                body = {**target, "purpose": "marketing", "text": "REST 会员日"}
                await self._call("POST", "/messages", body)
            case "ticks" | "unticks" | "stops":
                await self._page(what, person, str(arg))
            case "merge":
                one, two = await self._of(person), await self._of(int(str(arg)))
                if one and two and one.id != two.id:
                    await self._call("POST", f"/buyers/{one.id}/merge", {"into": two.id})
            case "erase" if found := await self._of(person):
                group = {(a.account, a.id) for a in found.addresses}
                await self._call("DELETE", f"/buyers/{found.id}", None)
                self.model.agreed -= group
            case "patch" if found := await self._of(person):
                await self._call("PATCH", f"/buyers/{found.id}", {"name": "林小满", "tags": ["vip"]})
            case "test" if found := await self._of(person):
                draft = await self._draft()
                await self._call("POST", f"/broadcasts/{draft.id}/test", {"to": [{"buyer": found.id}]})
            case "broadcast":
                await self._broadcast()
            case "replay":
                await self._replay()
            case "hour":
                await self.gw.idle(20)
                self.gw.gateway.clock.set_offset(self.gw.gateway.clock.offset() + 3_600_000)
        await self._settle()

    async def _say(self, person: int, lane: str, text: str, *, again: bool = False) -> None:
        name, id = self.addresses[person, lane]
        if name == "sms-main":
            serial = self.sms.serial
            await self.sms.say(text, From=id)
            if again:
                self.sms.serial = serial
                await self.sms.say(text, From=id)
        else:
            mid = f"m_again{id}" if again else ""
            await self.gw.say(id, text, mid=mid)
            if again:
                await self.gw.say(id, text, mid=mid)

    async def _page(self, what: str, person: int, lane: str) -> None:
        """The buyer's own page, in a browser that was let in."""
        mine = self.addresses[person, lane]
        group, buyer = await self._group(mine), await self._buyer(mine)
        if buyer is None or buyer.address(*mine) is None:
            return
        gateway = self.gw.gateway
        token = gateway.links.token("chat", buyer.id, buyer.revoked, gateway.clock.now())
        secret = await Visits(gateway.store).let_in(buyer, gateway.clock.real())
        mark = digest(f"line|{mine[1]}" if lane == "sms-main" else f"line|{mine[0]}|{mine[1]}")[:12] + ".marketing"
        form = {"csrf": csrf_of(secret), "tick" if what == "ticks" else "was": mark}
        url = f"{self.gw.base}/b/{token}/{'stop' if what == 'stops' else 'settings'}"
        headers = {"Cookie": f"{COOKIE}={secret}"}
        async with self.gw.session.post(url, data=form, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 303
        if what == "unticks":
            self.model.agreed.discard(mine)
        else:
            self.model.say(mine, group, agrees=what == "ticks")

    async def _shop(self, person: int, answer: str) -> None:
        """A cart, with what the shop knows of consent: the way of journeys."""
        _, phone = self.addresses[person, "sms-main"]
        now = rfc(time.time() + self.gw.gateway.clock.offset() / 1000)
        cart = {
            "checkout": {
                "token": f"t{next(_person)}", "items": [{"title": "衬衫"}], "recover_url": "https://s.example/c/t1",
                "total": {"amount": "188.00", "currency": "CNY"}, "updated_at": now,
            },
            "buyer": {"ref": f"r{phone[1:]}", "phones": [phone], "consent": {"sms": answer, "updated_at": now}},
        }  # fmt: skip
        for kind, data in (("buyer.updated", {"buyer": cart["buyer"]}), ("checkout.updated", cart)):
            assert (await self.gw.shop(kind, f"e{next(_person)}", data))[0] == 200
        if answer == "yes" and ("sms-main", phone) not in self.model.out:
            self.model.agreed.add(("sms-main", phone))
        if answer == "no":
            self.model.agreed.discard(("sms-main", phone))

    @property
    def _broadcasts(self):
        return self.gw.gateway.broadcasts

    async def _draft(self) -> Broadcast:
        draft = Broadcast(
            id="",
            title="t",
            purpose="marketing",
            accounts=LANES,
            text={"zh-CN": "会员日到了"},
            created_at=0,
            created_by="l",
        )
        return await self._broadcasts.create(draft)

    async def _broadcast(self) -> None:
        """To everybody there is, whether they agreed or not: the audience is no protection."""
        buyers = {found.id: found for person in PEOPLE if (found := await self._of(person))}
        self.audiences.write(self.gw.gateway.store, buyers.values())
        made = await self._draft()
        self.broadcasts.append(await self._broadcasts.submit(made.id, "lin", recipients=len(buyers)))
        end = time.monotonic() + 60
        while (await self._broadcasts.get(made.id)).state != "done":
            assert time.monotonic() < end
            await self.gw.idle(20)

    async def _replay(self) -> None:
        """What was planned comes once more, as a dead letter that is put back would."""
        now = self.gw.gateway.clock.now()
        for broadcast in self.broadcasts[-1:]:
            for person in PEOPLE:
                if found := await self._of(person):
                    due = Event("", found.home, "", now, now, BroadcastDue(broadcast.id, found.id))
                    await self.gw.gateway.store.append([dump_entry(due)], lane="b")

    async def _call(self, method: str, path: str, body: dict | None) -> int:
        url = f"{self.gw.base}/api/v1{path}"
        async with self.gw.session.request(method, url, json=body, headers=self.headers) as answer:
            assert answer.status < 500
            return answer.status

    # --- what became of it ------------------------------------------------------------------------------------------

    async def _buyer(self, address: tuple[str, str]) -> Buyer | None:
        found = await self.gw.gateway.queries.buyer_by_address(*address)
        return found if found is not None and not found.erased else None

    async def _of(self, person: int) -> Buyer | None:
        found = await self._buyer(self.addresses[person, "messenger-main"])
        return found or await self._buyer(self.addresses[person, "sms-main"])

    async def _group(self, address: tuple[str, str]) -> set[tuple[str, str]]:
        await self.gw.idle(20)
        buyer = await self._buyer(address)
        return {address, *((a.account, a.id) for a in (buyer.addresses if buyer else ()))}

    async def _settle(self) -> None:
        await self.gw.idle(20)
        self.model.join([await self._group(address) for address in self.addresses.values()])
        for name, to, id in self._handed_over():
            body = await self.gw.gateway.store.command("HGET", keys.message(ids.partition_in(id), id), "b")
            if load_message(body).purpose == "marketing":
                assert (name, to) in self.model.agreed, (name, to)
        self.seen = (len(self.gw.graph.sent), len(self.sms.twilio.forms))

    def _handed_over(self):
        """What the providers took since the last look: account, address, our id."""
        for sent in self.gw.graph.sent[self.seen[0] :]:
            yield "messenger-main", sent["recipient"]["id"], sent["message"]["metadata"].partition("/")[0]
        for form in self.sms.twilio.forms[self.seen[1] :]:
            yield "sms-main", form["To"], form["StatusCallback"].rpartition("ref=")[2]


@pytest.fixture
async def world_of(valkey, redis_client, tmp_path):
    twilio, audiences = TwilioPeer(), FileAudiences(tmp_path / "audience.json")
    caps = "marketing_per_week = 0\nmarketing_per_day = 0"
    extras = bootstrap.Extras(audiences=audiences)
    async with (
        provider(twilio) as (base, _),
        running(valkey, tmp_path, extra=account(base), policy=caps, extras=extras) as gw,
    ):
        token = await create_token(gw.gateway.store, "tests", "owner")
        model = Model()
        yield lambda: World(gw, Sms(gw, twilio, None), audiences, token, model)


@pytest.mark.timeout(600)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(actions=st.lists(ACTIONS, min_size=3, max_size=10))
async def test_marketing_reaches_nobody_who_did_not_agree(world_of, actions):
    world = world_of()
    for action in actions:
        await world.do(*action)


async def test_the_model_sees_marketing_that_was_agreed_to(world_of):
    """The other way round, or the test could pass by sending nothing: each path does reach who agreed."""
    world = world_of()
    handed = 0
    page = (("hello", 2, "messenger-main"), ("ticks", 2, "messenger-main"))
    for action in (*page, ("in", 0, "messenger-main"), ("shop", 1, "yes"), ("broadcast", 0, None)):
        before = len(world.gw.graph.sent) + len(world.sms.twilio.forms)
        await world.do(*action)
        handed = len(world.gw.graph.sent) + len(world.sms.twilio.forms) - before
    assert handed == 3
    for action in (("rest", 1, "sms-main"), ("rest", 0, "messenger-main"), ("hour", 0, None)):
        before = len(world.gw.graph.sent) + len(world.sms.twilio.forms)
        await world.do(*action)
        assert len(world.gw.graph.sent) + len(world.sms.twilio.forms) - before == 1, action
