"""The desk at which staff work on broadcasts: the same rules for the API, the pages and the command line.

It checks what a draft says, previews it, lets it go with the approval that it needs, and plans its tests. Whoever is refused
gets a Refusal that names the field and what would be right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct, field, structs

from bot import access
from bot import broadcast_life as life
from bot.broadcasting import Broadcasts
from bot.broadcasts import Broadcast, Recipient, Template
from bot.catalogue import Catalogue
from bot.clock import MINUTE_MS, SystemClock, rfc3339
from bot.coupons import Coupons
from bot.errors import ChangedError, StateError, UnknownBroadcastError
from bot.events import Ms
from bot.lint import Finding, Lane, Shop, lint
from bot.policy import PolicySettings
from bot.products import ItemView
from bot.queries import Queries, StoredMessage
from bot.store import Store
from bot.wording import short
from console.api.broadcast_models import BroadcastPatch, Seen
from console.api.broadcast_shapes import EVERYBODY, apply, broadcast
from console.api.refusals import Refusal

MAY_APPROVE = "marketing"
SLACK_MS: Ms = 10 * MINUTE_MS
"""So late a beginning may be: callers' clocks differ, and people take their time to press a button."""


class Whole(Struct, frozen=True):
    """An audience counted as a whole. `excluded`: by switch, whom it leaves out; of the rest by account or reason; `capped`: wait.

    `by_variant`: how many of it read which variant; "": the broadcast's own text. `some`: a few of it.
    """

    count: int
    excluded: dict[str, int]
    by_account: dict[str, int]
    skipped: dict[str, int]
    capped: int = 0
    by_variant: dict[str, int] = field(default_factory=dict)
    some: Sequence[Recipient] = ()


class Crowd(Protocol):
    """Who a broadcast would reach, by the ledger as it is now."""

    def exclusions(self, lang: str) -> Sequence[Mapping[str, str]]:
        """The ready exclusions: name, title and explanation in a language."""
        ...

    def exclusion_fault(self, name: str) -> str:
        """What is wrong with the name of an exclusion, "" for a good one."""
        ...

    def fields(self, lang: str) -> Sequence[Mapping[str, Any]]:
        """What conditions may ask: name, title, type, operators, choices, what narrows it down, hint."""
        ...

    def described(self, where: str, lang: str, words: Mapping[str, Any]) -> str:
        """Conditions (JSON) in words of a language, "" for everybody."""
        ...

    async def segments(self) -> Sequence[Mapping[str, Any]]:
        """The saved segments by name: id, name, conditions (JSON), version."""
        ...

    def faults(self, where: Mapping[str, Any], path: str) -> list[tuple[str, str]]:
        """What is wrong with conditions that stand at `path`: the field, and what would be right."""
        ...

    async def segment(self, id: str) -> str | None:
        """The conditions of a saved segment as JSON, None for an unknown one."""
        ...

    async def count(self, asked: Broadcast) -> int:
        """How many it would reach before each buyer's own decision: exclusions are taken off, the holdout is not."""
        ...

    async def whole(self, asked: Broadcast, some: int) -> Whole:
        """All of it counted: who is left out, who would get it by which account, who not and why; quotas and staff aside."""
        ...

    async def positions(self) -> Mapping[int, str]:
        """Up to where each partition's journal is taken in."""
        ...

    async def results(
        self, broadcast: str, before: tuple[Ms, str] | None, limit: int
    ) -> Sequence[tuple[StoredMessage, str]]:
        """The messages of a broadcast, newest first, each with its buyer's name."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What it takes. `receivers`: addresses (ACCOUNT:ID) of staff who get tests; `shops`: in the order of the configuration."""

    store: Store
    clock: SystemClock
    queries: Queries
    broadcasts: Broadcasts
    crowd: Crowd
    coupons: Coupons
    catalogue: Catalogue
    lanes: Mapping[str, Lane]
    shop: Shop
    policy: PolicySettings
    country: str
    receivers: frozenset[str]
    shops: Sequence[str]
    parse_phone: Callable[[str], str]

    # --- drafts ---------------------------------------------------------------------------------------------------

    async def drafted(
        self, body: BroadcastPatch, by: str, onto: Broadcast | None = None, *, words: bool = False
    ) -> Broadcast:
        """The broadcast that a body asks for, its parts checked, and its `words` too. Raises Refusal naming every field at fault."""
        if onto is None:
            if body.where is None and body.segment is None:
                raise Refusal(400, "bad-body", 'where: is missing; {"all": []} is everybody', field_name="where")
            onto = Broadcast("", "", "marketing", (), {}, 0, by, where=EVERYBODY)
        made = apply(body, onto)
        made.given = self._given(made, await self._items(made))
        made.templates = {account: self._approved(account, one) for account, one in made.templates.items()}
        faults = await self._parts(made)
        if "send_at" in body.model_fields_set:
            faults += self._too_late(made.send_at, made)
        if words:
            faults += [(one.field, one.detail) for one in self.lint(made) if one.level == "fault"]
        if faults:
            raise _bad(faults)
        return made

    async def create(self, body: BroadcastPatch, by: str, id: str = "") -> Broadcast:
        """Keeps a new draft. `id`: what it is to be called, so that a repeat makes no second one."""
        made = await self.drafted(body, by, words=True)
        if not id:
            return await self.broadcasts.create(made)
        named = structs.replace(made, id=id, created_at=self.clock.now())
        await self.broadcasts.add(named, by)
        return await self.get(id)

    async def change(self, id: str, body: BroadcastPatch, by: str) -> Broadcast:
        """Changes a draft. Raises Refusal 409 where somebody was faster, or it is no draft any more."""
        kept = await self.get(id)
        made = await self.drafted(body, by, structs.replace(kept), words=True)
        made.version = body.version if body.version is not None else kept.version
        return await self._done(id, self.broadcasts.update(made, by))

    async def get(self, id: str) -> Broadcast:
        """One by id. Raises Refusal 404."""
        try:
            return await self.broadcasts.get(id)
        except UnknownBroadcastError as error:
            raise Refusal(404, "not-found", error.detail) from error

    async def shown(self, found: Broadcast) -> dict[str, Any]:
        """A broadcast as the API shows it."""
        counts = await self.broadcasts.counts(found.id)
        warnings = [one for one in self.lint(found) if one.level == "warning"] if found.state == "draft" else []
        return broadcast(found, counts, warnings, self.clock.now())

    def lint(self, made: Broadcast) -> list[Finding]:
        """What there is to say of its words."""
        return lint(made, [self.lanes[a] for a in made.accounts if a in self.lanes], self.shop)

    def _no_faults(self, made: Broadcast) -> None:
        if faults := [(one.field, one.detail) for one in self.lint(made) if one.level == "fault"]:
            raise _bad(faults)

    # --- life -----------------------------------------------------------------------------------------------------

    async def submit(self, id: str, by: str, seen: Seen) -> Broadcast:
        """Lets a draft go. Above the limit somebody else must approve; who is alone types the count of its recipients."""
        kept = await self.get(id)
        if kept.state == "draft":  # what it names may be gone, and its time over, since it was written
            if faults := [*await self._parts(kept), *self._too_late(kept.send_at, kept)]:
                raise _bad(faults)
            self._no_faults(structs.replace(kept, given=self._given(kept, await self._items(kept))))
        recipients = await self.crowd.count(kept)
        _same(seen, recipients)
        version = await self._freshened(kept, by, seen.version or kept.version)
        made = await self._done(id, self.broadcasts.submit(id, by, recipients=recipients, version=version))
        if made.state == "awaiting_approval" and seen.confirm is not None and await self.alone(by):
            made = await self._done(id, self.broadcasts.approve(id, by, alone=True, version=made.version))
        return made

    async def approve(self, id: str, by: str, seen: Seen) -> Broadcast:
        """Lets a submitted one go: somebody else than who submitted it, or who is alone and types the count."""
        kept = await self.get(id)
        recipients = await self.crowd.count(kept)
        _same(seen, recipients)
        alone = False
        if kept.state == "awaiting_approval" and kept.submitted_by == by:
            await self._need_second(by, seen, recipients)
            alone = True
        return await self._done(id, self.broadcasts.approve(id, by, alone=alone, version=seen.version or 0))

    async def _need_second(self, by: str, seen: Seen, recipients: int) -> None:
        """Refuses who submitted it, unless nobody else could approve it and the count of its recipients is typed."""
        if not await self.alone(by):
            raise Refusal(409, "second-person", f"{by} submitted it: somebody else must approve it")
        if seen.confirm is None:
            words = f"nobody else can approve it: type how many it reaches, confirm = {recipients}"
            raise Refusal(409, "second-person", words, field_name="confirm")
        _same(seen, recipients)

    async def _resume(self, kept: Broadcast, by: str, seen: Seen) -> Broadcast:
        """Lets it go on: one that has outgrown its approval needs a second person once more."""
        alone = False
        outgrown = kept.state == "paused" and life.outgrown(kept, kept.frozen, self.broadcasts.rules)
        if outgrown and kept.submitted_by == by:
            await self._need_second(by, seen, kept.frozen)
            alone = True
        return await self._done(kept.id, self.broadcasts.resume(kept.id, by, alone=alone, version=seen.version or 0))

    async def act(self, id: str, action: str, by: str, seen: Seen) -> Broadcast:
        """Pause, resume, cancel or withdraw (undo)."""
        kept = await self.get(id)
        if action == "resume":
            return await self._resume(kept, by, seen)
        how: Mapping[str, Callable[..., Awaitable[Broadcast]]] = {
            "pause": self.broadcasts.pause,
            "cancel": self.broadcasts.cancel,
            "withdraw": self.broadcasts.withdraw,
        }
        return await self._done(id, how[action](id, by, version=seen.version or 0))

    async def needs_approval(self, recipients: int) -> bool:
        """Whether so many are above the limit."""
        limit = self.broadcasts.rules.approve_above
        return limit is not None and recipients > limit

    async def users_of(self, segment: str) -> list[Broadcast]:
        """The broadcasts that will ask for a saved segment: not yet over, and their audience is not frozen."""
        return [one for one in await self.broadcasts.list() if one.segment == segment and _asks(one)]

    async def uses(self) -> Counter[str]:
        """By saved segment, how many broadcasts will ask for it."""
        return Counter(one.segment for one in await self.broadcasts.list() if one.segment and _asks(one))

    async def alone(self, by: str) -> bool:
        """Whether nobody else may approve: then the count is typed instead."""
        return not await access.able(self.store, MAY_APPROVE) - {by}

    async def _freshened(self, kept: Broadcast, by: str, version: int) -> int:
        """The version to submit: with the names and prices that its products have now."""
        given = self._given(kept, await self._items(kept))
        if kept.state != "draft" or given == kept.given:
            return version
        update = structs.replace(kept, given=given, version=version)
        return (await self._done(kept.id, self.broadcasts.update(update, by))).version

    async def _done(self, id: str, change: Awaitable[Broadcast]) -> Broadcast:
        try:
            return await change
        except (StateError, ChangedError) as error:
            now = await self.get(id)
            who = f"; {now.changed_by} made it {now.state} at {rfc3339(now.changed_at)}" if now.changed_by else ""
            raise Refusal(409, error.kind, f"{error.detail}{who}") from error

    # --- parts of a draft -----------------------------------------------------------------------------------------

    async def _parts(self, made: Broadcast) -> list[tuple[str, str]]:
        """What is wrong with all but its words and its beginning."""
        return [*self._accounts(made), *self._conditions(made), *await self._named(made), *self._times(made)]

    def _too_late(self, send_at: Ms, made: Broadcast) -> list[tuple[str, str]]:
        """A beginning that is over: a slip of the pen would send to everybody at once."""
        if not send_at or made.repeat is not None or send_at > self.clock.now() - SLACK_MS:
            return []
        return [("send_at", f"{rfc3339(send_at)} is over; leave it out to begin at once")]

    def _accounts(self, made: Broadcast) -> list[tuple[str, str]]:
        there = ", ".join(self.lanes)
        if not made.accounts:
            return [("accounts", f"name one or more of {there}")]
        faults = [(f"accounts.{n}", f"there is no account {a}; there are: {there}") for n, a in enumerate(made.accounts) if a not in self.lanes]  # fmt: skip
        faults += [
            (f"templates.{a}", f"{a} is not among the accounts") for a in made.templates if a not in made.accounts
        ]
        return faults

    def _conditions(self, made: Broadcast) -> list[tuple[str, str]]:
        faults: list[tuple[str, str]] = []
        for place, where in (("where", made.where), *((f"variants.{v.name}.where", v.where) for v in made.variants)):
            if where:
                faults += self.crowd.faults(json.loads(where), place)
        names = [variant.name for variant in made.variants]
        faults += [("variants", f"{name} stands twice") for name in dict.fromkeys(names) if names.count(name) > 1]
        if made.variants and not sum(v.weight for v in made.variants if not v.where):
            faults += [("variants", "one without conditions needs a weight: it is for all the others")]
        faults += [("exclude", words) for name in made.exclude if (words := self.crowd.exclusion_fault(name))]
        return faults

    async def _named(self, made: Broadcast) -> list[tuple[str, str]]:
        faults: list[tuple[str, str]] = []
        if made.segment and await self.crowd.segment(made.segment) is None:
            faults.append(("segment", f"there is no segment {made.segment}"))
        if made.coupon and await self.coupons.get(made.coupon) is None:
            faults.append(("coupon", f"there is no campaign {made.coupon}"))
        known = await self._items(made)
        for number, ref in enumerate(made.items):
            found = known.get(ref)
            if found is None or found.removed:
                faults.append(
                    (f"items.{number}", f"there is no product {ref}" if found is None else f"{ref} is not sold")
                )
        return faults

    def _times(self, made: Broadcast) -> list[tuple[str, str]]:
        now, faults = self.clock.now(), list[tuple[str, str]]()
        if made.not_after and made.not_after <= max(now, made.send_at):
            faults.append(("not_after", "must be after now, and after send_at"))
        if made.repeat is not None and made.repeat.until and made.repeat.until <= max(now, made.send_at):
            faults.append(("repeat.until", "must be after now, and after send_at"))
        return faults

    def _approved(self, account: str, template: Template) -> Template:
        known = self.lanes[account].templates.get(template.template_id) if account in self.lanes else None
        return structs.replace(template, text=known.text, longest=known.longest) if known else template

    async def _items(self, made: Broadcast) -> dict[str, ItemView]:
        return await self.catalogue.items(made.items, self.shops) if made.items else {}

    def _given(self, made: Broadcast, items: Mapping[str, ItemView]) -> dict[str, str]:
        given: dict[str, str] = {}
        for number, item in enumerate((items[ref] for ref in made.items if ref in items), 1):
            tail = str(number) if number > 1 else ""
            given["item" + tail] = item.short_title or short(self.shop.locale, item.title)
            given["price" + tail] = f"{item.price.amount.normalize():f}" if item.price else ""
            given["link" + tail] = item.url
        return given


def _asks(one: Broadcast) -> bool:
    return one.state not in ("done", "cancelled") and one.frozen < 0


def _same(seen: Seen, recipients: int) -> None:
    if seen.confirm is not None and seen.confirm != recipients:
        raise Refusal(
            409,
            "other-count",
            f"confirm = {seen.confirm}, but it reaches {recipients} now: look at the preview again",
            field_name="confirm",
        )


def _bad(faults: Sequence[tuple[str, str]]) -> Refusal:
    words = "; ".join(f"{name}: {detail}" for name, detail in faults[:10])
    return Refusal(400, "bad-body", words, errors=list(faults))
