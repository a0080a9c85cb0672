"""The engine without its store: real turns, policy, wordings and the sender's last check, on records and queues in memory.

For rules that need thousands of runs. What Redis does is done here the plain way: mail per source in order, timers by
time, one digest per event. `choose` picks the record whose next event runs, so a test can try any interleaving.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

import handlers
from bot import ids, products, subjects
from bot.change import Change, Taken
from bot.clock import HOUR_MS
from bot.codec import dump_event, load_event, load_message, load_record
from bot.effects import FindProducts, FoundProducts
from bot.events import BuyerFacts, Event, MessageReceived, Ms, StaffAsked
from bot.hours import ALWAYS
from bot.identity import MERGE
from bot.lastcheck import refusal as last_check
from bot.messages import OutboundMessage
from bot.policy import PolicySettings
from bot.ports import Capabilities, WindowRule
from bot.records import Buyer, Link, Product, Record, Task
from bot.routing import Keywords, Registry
from bot.run import AwaitQuiet, Named, NameItems, Quiet, Unresolved
from bot.speaking import Speaker
from bot.turns import Turns
from bot.wording import Wordings
from tests.handlers.test_total import facts

ZONE = ZoneInfo("Asia/Shanghai")
PARTITIONS = 8
CHAT = Capabilities(frozenset({"text"}), 0, windows={"message": WindowRule(24 * HOUR_MS)}, choices=10)
SMS = Capabilities(frozenset({"text"}), 0, address_is_phone=True, sms=True)
LINES: Mapping[str, Capabilities] = {"chat": CHAT, "sms": SMS}
PHONE = "+8613900001234"
BUYER = BuyerFacts(ref="701", phones=(PHONE,))
WORDINGS = Wordings.load(Path("templates"))
KEYWORDS = Keywords.load(Path("templates/keywords.toml"))
REGISTRY = Registry(handlers.ALL)


class Desk:
    """All records of a small shop, and what its buyers were sent."""

    def __init__(
        self,
        now: Ms,
        *,
        lines: Mapping[str, Capabilities] = LINES,
        policy: Mapping[str, Any] | None = None,
        **shop: Any,
    ) -> None:
        settings = {"marketing_hours": ALWAYS, "service_hours": ALWAYS, "service_per_day": 0, **(policy or {})}
        self.now = now
        self.records: dict[str, bytes] = {}
        self.queues: dict[str, deque[tuple[str, Event | Ms]]] = {}  # subject -> (timer name or "", event or due)
        self.timers: dict[tuple[str, str], Ms] = {}
        self.seen: set[tuple[str, str]] = set()
        self.sent: list[OutboundMessage] = []
        self.skipped: list[tuple[str, str]] = []  # (wording or message key, reason)
        self.waiting: dict[str, str] = {}  # held messages: id -> wording
        self.tasks: dict[str, Task] = {}
        self.outbox: list[OutboundMessage] = []
        self.choose: Callable[[Sequence[str]], str] = lambda names: names[0]
        self.holds_sends = False
        self._count = 0
        speaker = Speaker(
            wordings=WORDINGS,
            policy=PolicySettings(accounts=lines, timezone=ZONE, **settings),
            brand="小满衣橱",
            locale="zh-CN",
        )
        self._turns = Turns(
            facts=replace(facts(), timezone=ZONE, **shop),
            registry=REGISTRY,
            keywords=KEYWORDS,
            speaker=speaker,
            capabilities=lines,
            partitions=PARTITIONS,
        )

    # --- what happens ---------------------------------------------------------------------------------------------

    def post(self, *events: Event) -> None:
        """Takes events in; they are handled by `settle`."""
        for event in events:
            self.queues.setdefault(event.subject, deque()).append(("", event))

    def says(self, id: str, text: str, account: str = "chat") -> None:
        """A buyer writes."""
        self._count += 1
        subject = subjects.address(account, id)
        self.post(Event(f"said{self._count}", subject, account, self.now, self.now, MessageReceived(text=text)))
        self.settle()

    def asks(self, subject: str, action: str, data: bytes) -> None:
        """Staff or the API ask something of a record."""
        self._count += 1
        body = StaffAsked(action, "test", data)
        self.post(Event(f"asked{self._count}", subject, "", self.now, self.now, body))
        self.settle()

    def grants(self, subject: str, account: str, id: str, topic: str, verdict: str = "granted") -> None:
        """A consent is recorded for an address."""
        evidence = {"account": account, "id": id, "topic": topic, "verdict": verdict, "evidence": "asked"}
        self.asks(subject, "consent", json.dumps(evidence).encode())

    def settle(self) -> None:
        """Runs turns until nothing is left, sends, and lets merges that waited for the sends go on."""
        while True:
            while waiting := sorted(subject for subject, queue in self.queues.items() if queue):
                subject = self.choose(waiting)
                self._turn(subject, *self.queues[subject].popleft())
            if self.holds_sends:
                return
            self.send()
            merges = [(at, subject) for (subject, name), at in self.timers.items() if name == MERGE]
            if not merges:
                return
            self._fire(*min(merges), MERGE)

    def _fire(self, at: Ms, subject: str, name: str) -> None:
        del self.timers[subject, name]
        self.now = max(self.now, at)
        self.queues.setdefault(subject, deque()).append((name, at))

    def send(self) -> None:
        """The sender: the last check of each message, then the provider."""
        for message in self.outbox:
            records = {subject: load_record(body) for subject, body in self.records.items()}
            refusal = last_check(message, records, self.now)
            if refusal:
                self.skipped.append((message.key, refusal))
            else:
                self.sent.append(message)
        self.outbox = []

    def advance(self, ms: Ms) -> None:
        """Lets time pass: timers fire in their order."""
        self.settle()
        end = self.now + ms
        while due := sorted((at, key) for key, at in self.timers.items() if at <= end):
            at, (subject, name) = due[0]
            self._fire(at, subject, name)
            self.settle()
        self.now = end

    # --- what one sees --------------------------------------------------------------------------------------------

    def record(self, subject: str) -> Record | None:
        """A record, or None."""
        body = self.records.get(subject)
        return load_record(body) if body else None

    def buyer(self, subject: str) -> Buyer:
        """The buyer whom a subject leads to."""
        found = self.record(subject)
        while isinstance(found, Link):
            found = self.record(found.home)
        assert isinstance(found, Buyer)
        return found

    @property
    def told(self) -> list[str]:
        """The wordings that were sent, in their order."""
        return [message.key for message in self.sent]

    # --- one turn -------------------------------------------------------------------------------------------------

    def _turn(self, subject: str, timer: str, what: Event | Ms) -> None:
        self._count += 1
        partition = subjects.partition_of(subject, PARTITIONS)
        event = what if isinstance(what, Event) else None
        if event is not None and event.id:
            if (subject, event.id) in self.seen:
                return
            self.seen.add((subject, event.id))
        taken = Taken(
            partition, "i", f"{self._count}-0", subject, ids.digest(event.id) if event else b"", seen=False,
            body=dump_event(event) if event else b"", timer=timer, due=what if isinstance(what, int) else 0,
        )  # fmt: skip
        run = self._turns.begin(taken, self.record(subject), self.now)
        while run.open:
            self._turns.resume(run, [self._quiet(question) for question in run.open])
        self._commit(subject, self._turns.finish(run))

    def _quiet(self, question: Unresolved) -> Quiet | FoundProducts | Named:
        if isinstance(question, NameItems):
            known = [found for found in map(self.record, self.records) if isinstance(found, Product)]
            names = {product.id: product.short_title for product in known if product.short_title}
            return Named(
                {item.product_id: names[item.product_id] for item in question.items if item.product_id in names}
            )
        if isinstance(question, FindProducts):
            return FoundProducts(tuple(self._products(question)), question.data)
        assert isinstance(question, AwaitQuiet), "nothing at this desk draws cards, claims coupons or sends codes"
        return Quiet(not any((one.account, one.to) in question.addresses for one in self.outbox))

    def _products(self, wanted: FindProducts) -> list[Product]:
        known = [found for found in map(self.record, self.records) if isinstance(found, Product)]
        shown = [product for product in known if products.is_offered(product)]
        if (item := wanted.item) is not None:
            return [p for p in shown if p.id == item.product or item.sku in {v.sku for v in products.offered(p)}][:1]
        for text in wanted.texts:
            found = [p for p in shown if text in {products.fold(v.sku) for v in products.offered(p)}]
            found = found or [p for p in shown if text in (products.fold(p.title), products.fold(p.short_title))]
            found = found or [p for p in shown if text in products.fold(p.title)]
            if found := found or [p for p in shown if p.short_title and products.fold(p.short_title) in text]:
                return found
        return []

    def _commit(self, subject: str, change: Change) -> None:
        if change.record:
            self.records[subject] = change.record
        for op, name, due in change.timers:
            if op == "+":
                self.timers[subject, name] = due
            else:
                self.timers.pop((subject, name), None)
        for letter in change.mails:
            self.post(load_event(letter.body))
        for id, body in change.tasks:
            self.tasks[id] = _task(body)
        for status in change.statuses:
            if status.state == "skipped":
                self.skipped.append((self.waiting.pop(str(status.what)), status.reason))
        for row in change.messages:
            message = load_message(row.body)
            if row.state == "skipped":
                self.skipped.append((message.key, row.reason))
                self.waiting.pop(row.id, None)
            elif row.account:
                self.outbox.append(message)
                self.waiting.pop(row.id, None)
            else:
                self.waiting[row.id] = message.key


def _task(body: bytes) -> Task:
    return msgspec.msgpack.decode(body, type=Task)
