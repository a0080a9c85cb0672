"""What a handler wants done: a closed set of values. Handlers do nothing themselves.

Effects of one turn are applied in their order (`bot.apply`), and committed all or none.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

from bot.broadcasts import Script
from bot.events import Body, Guard, ItemRef, Ms, TouchAsked
from bot.messages import Choice, Content, Purpose
from bot.reasons import Rule
from bot.records import Product, Verdict


class Say(Struct, frozen=True):
    """Send the wording `key` (templates/<locale>/) filled with `vars` (strings, or `Money`, or `Ms` as `vars["x_at"]`).

    Without `account` a reply goes to the address the event came from, anything else to the best address that policy
    finds. `choices` are (payload, label wording key) pairs, beyond those that the wording itself lists. `content`
    replaces the wording by ready content. `touch` is a message key: the same key is never sent twice to a buyer.
    """

    key: str
    vars: dict[str, object] = field(default_factory=dict)
    purpose: Purpose = "reply"
    account: str = ""
    to: str = ""
    choices: tuple[Choice, ...] = ()
    content: Content | None = None
    not_after: Ms = 0
    guard: Guard | None = None
    touch: str = ""
    source: str = ""
    order: str = ""
    accounts: tuple[str, ...] = ()  # only these accounts, if any are given
    ask_phone: bool = False
    needs_window: bool = False  # neither SMS nor a template without the buyer's own leave
    spares_texts: bool = False  # a chat window or its template: what is no text message worth
    confirms_opt_out: bool = False  # the one reply that an opt-out still gets
    topic: str = ""  # of marketing: "coupons", or a product's subject, goes to who asked for that alone
    after: tuple[Effect, ...] = ()  # applied only if the message goes: what is marked as asked was asked
    script: Script | None = None  # of a broadcast: the words are chosen when lane and language are known
    variant: str = ""  # of a broadcast
    id: str = ""  # message id given beforehand (REST)
    again_of: str = ""  # id of the message that failed before, whose words it repeats
    again: int = 0  # how many failed before it
    text: str = ""  # literal text instead of a wording (REST), subset-checked there


class Enter(Struct, frozen=True):
    """The conversation is now in dialog `state`; `data` replaces its data. Ends by itself after `timeout_s`.

    With `pause` the dialog that is interrupted is kept, for `Leave(resume=True)`.
    """

    state: str
    data: dict[str, str] = field(default_factory=dict)
    timeout_s: int = 1800
    pause: bool = False


class Leave(Struct, frozen=True):
    """The dialog ends (or the one it interrupted is resumed, if `resume`)."""

    resume: bool = False


class Missed(Struct, frozen=True):
    """Nothing understood this text: counts misses in a row."""


class Schedule(Struct, frozen=True):
    """Set the record's timer `name` to `at` (replaces one of that name). Comes back as `TimerDue`."""

    name: str
    at: Ms
    data: dict[str, str] = field(default_factory=dict)


class Cancel(Struct, frozen=True):
    """Remove the timer `name`, if set."""

    name: str


class IssueCard(Struct, frozen=True):
    """Give the buyer a member card. Does nothing if there is one.

    The engine draws its number from the partition's counter, or takes `number` where that is free.
    """

    source: str
    number: str = ""
    level: str = ""
    points: int = 0
    joined_at: Ms = 0


class LeaveClub(Struct, frozen=True):
    """The buyer gives the card back: card, birthday, gender, sizes and marketing consents are removed."""


class ClaimCoupon(Struct, frozen=True):
    """Claim a coupon of `campaign`. The engine resolves it before wording and calls the handler's `then` with the result.

    The result is a `ClaimResult`; `then` names an entry of `bot.handling.Handler.continuations`.
    """

    campaign: str
    then: str
    data: dict[str, str] = field(default_factory=dict)


class ClaimResult(Struct, frozen=True, tag="claim_result", omit_defaults=True):
    """How a claim ended. `won` and `again` carry the coupon's code, `limit` the last one: used or expired."""

    outcome: Literal["won", "again", "sold_out", "not_started", "ended", "unknown", "limit"]
    campaign: str
    code: str = ""
    expires_at: Ms = 0
    data: dict[str, str] = field(default_factory=dict)


class SendCode(Struct, frozen=True):
    """Send a 6-digit code to `phone` by SMS (purpose code), subject to the anti-abuse limits; then continue."""

    phone: str
    then: str
    data: dict[str, str] = field(default_factory=dict)


class CodeResult(Struct, frozen=True, tag="code_result", omit_defaults=True):
    """How sending a code ended. `digest` is the HMAC of the code (kept in the dialog), never the code itself."""

    outcome: Literal["sent", "too_many", "no_lane", "not_allowed"]
    phone: str
    digest: str = ""
    expires_at: Ms = 0
    retry_at: Ms = 0
    data: dict[str, str] = field(default_factory=dict)


class FindProducts(Struct, frozen=True):
    """Look products up: `item`, else what the first of `texts` finds that finds any. Then continue with `FoundProducts`."""

    then: str
    texts: tuple[str, ...] = ()
    item: ItemRef | None = None
    data: dict[str, str] = field(default_factory=dict)


class FoundProducts(Struct, frozen=True, tag="found_products", omit_defaults=True):
    """The products that fit best, those that are offered: none, one, or several to choose from (6 at most)."""

    products: tuple[Product, ...] = ()
    data: dict[str, str] = field(default_factory=dict)


class SpeakOf(Struct, frozen=True):
    """This item is spoken of: what "is it in stock" means from now on."""

    item: ItemRef


class AwaitStock(Struct, frozen=True):
    """The buyer wants to be told once when a product (its subject), or one SKU of it, is back; or no longer."""

    product: str
    sku: str = ""
    wording: str = ""
    on: bool = True


class ProvePhone(Struct, frozen=True):
    """The buyer proved to own `phone`: claim the identity; `IdentityGranted` or `Absorbed` follows by mail.

    `IdentityHeld` follows where the number's card may be a former owner's; `fact` is the second fact it asked for.
    """

    phone: str
    by_code: bool = False
    fact: str = ""


class ChangePhone(Struct, frozen=True):
    """`phone`, proved before, is the buyer's only number from now on; the others are released."""

    phone: str


class Trust(Struct, frozen=True):
    """Whoever writes at this address is the buyer: a second fact has shown it."""


class TellCode(Struct, frozen=True):
    """Send a code that was drawn already to `phone` by `account` (purpose code)."""

    phone: str
    account: str
    otp: str
    expires_at: Ms
    wording: str


class NoteProof(Struct, frozen=True):
    """The buyer proved `phone`, a number of this record, elsewhere: by a code on a page."""

    phone: str


class Revoke(Struct, frozen=True):
    """Every link to the buyer's pages that was given out so far opens nothing any more."""


class LearnIdentity(Struct, frozen=True):
    """A shop says that these identities (subjects) are this buyer's."""

    subjects: tuple[str, ...]


class SetProfile(Struct, frozen=True):
    """Set `name`, `birthday`, `gender`, `locale`, `timezone`, `size:<kind>` or remove it with ""."""

    field: str
    value: str


class Tag(Struct, frozen=True):
    """Add (or remove) a tag."""

    tag: str
    remove: bool = False


class SetConsent(Struct, frozen=True):
    """Record a consent answer. Without `account` it counts for the address of the event.

    `locale` is that of the wording, where it was not said in the address's own.
    """

    topic: Literal["marketing", "service", "calls", "coupons"]
    verdict: Verdict
    wording: str
    source: str
    account: str = ""
    to: str = ""
    locale: str = ""


class OptOut(Struct, frozen=True):
    """Marketing stops on all channels. `blocks` shuts this address altogether (carrier STOP)."""

    source: str
    blocks: bool = False


class OptIn(Struct, frozen=True):
    """Lifts the opt-out and grants marketing on the channel of the event (or at `account`, `to`), evidence kept.

    `locale` is that of the wording, where it was not said in the address's own.
    """

    source: str
    wording: str = ""
    account: str = ""
    to: str = ""
    locale: str = ""


class StaffOwns(Struct, frozen=True):
    """Staff own this conversation until `until` (0: it goes back to the bot)."""

    until: Ms


class OpenTask(Struct, frozen=True):
    """Open a task for staff. `key` makes it once per record: an open task with the key is not opened again."""

    kind: Literal["phone_call", "bad_review", "refund", "parcel", "handover", "return", "urgent", "sample"]
    brief: str
    key: str = ""
    order: str = ""
    due_at: Ms = 0


class CloseTask(Struct, frozen=True):
    """Close the task `key`, if open."""

    key: str
    outcome: str
    state: Literal["done", "expired"] = "done"


class Mail(Struct, frozen=True):
    """Post `body` to the record of `subject`: exactly once, in order."""

    subject: str
    body: Body
    bulk: bool = False


class Tell(Struct, frozen=True):
    """An order or cart asks for a touch: mailed to the best identity it knows, else owed until somebody is known.

    A touch with a key that was asked for before is dropped.
    """

    touch: TouchAsked


class Remember(Struct, frozen=True):
    """Add `by` to the small counter `name` of the buyer's record (set it to `by` if `replace`)."""

    name: str
    by: int = 1
    replace: bool = False


class Await(Struct, frozen=True):
    """The buyer waits for news of `topic` ("coupons": the next campaign that can be claimed), or no longer."""

    topic: Literal["coupons"]
    on: bool = True


class Redeem(Struct, frozen=True):
    """Mark the wallet's coupon `code` as redeemed with `order`."""

    code: str
    order: str


class Skip(Struct, frozen=True):
    """Record that a touch was not sent, and why, as a decision."""

    key: str
    reason: str
    rule: Rule
    purpose: Purpose = "service"
    source: str = ""
    order: str = ""
    detail: str = ""
    variant: str = ""


class Hold(Struct, frozen=True):
    """Record that a touch waits until `until`, and for what, as a decision. What is sent then is decided then."""

    key: str
    rule: Rule
    until: Ms
    purpose: Purpose = "service"
    source: str = ""
    order: str = ""


class Note(Struct, frozen=True):
    """Write a line into the record's timeline."""

    kind: str
    summary: str


Effect: TypeAlias = (
    Say
    | Enter
    | Leave
    | Missed
    | Schedule
    | Cancel
    | IssueCard
    | LeaveClub
    | ClaimCoupon
    | SendCode
    | FindProducts
    | SpeakOf
    | AwaitStock
    | ProvePhone
    | ChangePhone
    | Trust
    | TellCode
    | NoteProof
    | Revoke
    | LearnIdentity
    | SetProfile
    | Tag
    | SetConsent
    | OptOut
    | OptIn
    | StaffOwns
    | OpenTask
    | CloseTask
    | Mail
    | Tell
    | Remember
    | Await
    | Redeem
    | Skip
    | Hold
    | Note
)
Resolution: TypeAlias = ClaimResult | CodeResult | FoundProducts
