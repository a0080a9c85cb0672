"""Every Redis key, in one place. `{pNN}` is the hash tag: what one turn touches lives in one slot.

Lua builds keys from the tag it is given (`'inbox:'..tag`), by the same spellings; `docs/redis.md` lists them all.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b

META = "meta"  # hash: partitions, created, release, epoch
PROCESSES = "procs"  # zset: owner id -> lease end by Redis TIME
CLOCK = "clock"  # string: virtual offset in ms
CLOCK_SEEN = "clock:seen"  # hash: owner id -> offset it runs with
TOKENS = "tokens"  # hash: sha256 of an API token -> name, role
LEDGER_LEASE = "ledger:lease"  # hash: the process that projects, until when (as lease:{p})
LEDGER_MARKS = "ledger:marks"  # hash: partition -> the last journal entry that the ledger holds
LEDGER_STATE = "ledger:state"  # hash: at, lag_ms, rows, rate, unread, error, text: how the projection stands
STAFF = "staff"  # hash: name of who signs in at the console -> name, role, since when
METRICS = "metrics"  # hash: owner id -> last metrics text
CAMPAIGNS = "campaigns"  # set: keys of all campaigns
CODE_COUNTS = "otp:{codes}"  # hash: phone codes sent by n: number, p: prefix, w: asker, c: country; k: proved; a: all
ERASING = "erasing"  # hash: id of a buyer being erased -> what to look for
AGING = "aging"  # hash: began, next: the pass over all buyers by age, and its next partition
ERASING_LOCK = "erasing:lock"  # string: the process that erases just now
LINK_KEYS = (
    "secret:links"  # hash: digit of a key -> time of its making, key (hex): what links to buyer pages are sealed with
)
ERASING_REWRITE = (
    "erasing:rewrite"  # string: after an erasure the append-only file is to be written anew (asked, running)
)
CODE_SECRET = "secret:codes"  # string: what phone codes are hashed with  # noqa: S105  # a name, not a secret


@cache  # partitions are few, and a message names its own a dozen times
def tag(partition: int) -> str:
    """The hash tag of a partition."""
    return f"{{p{partition:02d}}}"


@cache
def inbox(partition: int) -> str:
    """Stream of webhooks, staff, codes, mail."""
    return f"inbox:{tag(partition)}"


@cache
def bulk(partition: int) -> str:
    """Stream of due timers and broadcasts."""
    return f"bulk:{tag(partition)}"


def record(partition: int, subject: str) -> str:
    """A record: version byte and MessagePack."""
    return f"rec:{tag(partition)}:{subject}"


@cache
def lease(partition: int) -> str:
    """Hash: o owner, u until (ms by Redis TIME), f fence, i/b last ids taken from inbox and bulk."""
    return f"lease:{tag(partition)}"


@cache
def timers(partition: int) -> str:
    """Sorted set: subject, NUL, timer name; by due time."""
    return f"timers:{tag(partition)}"


def message(partition: int, id: str) -> str:
    """Hash of a message: b body, s state, t attempts, r reason, u updated, h history, p parts by the provider's count.

    d: the attempt and state last settled.
    """
    return f"msg:{tag(partition)}:{id}"


def messages(partition: int) -> str:
    """Sorted set: message ids by creation."""
    return f"msgs:{tag(partition)}"


def journal(partition: int) -> str:
    """Stream: what the ledger will project."""
    return f"journal:{tag(partition)}"


def mail(partition: int) -> str:
    """Stream: mail waiting to be relayed from this partition."""
    return f"mail:{tag(partition)}"


def index(partition: int) -> str:
    """Hash: `b:<buyer id>`, `m:<member number>`, `w:<topic>:<buyer id>` (waits for news) -> subject of the record.

    `n:<campaign>:<stock>` -> when that campaign was announced to those who wait.
    """
    return f"idx:{tag(partition)}"


def tasks(partition: int) -> str:
    """Hash: task id -> MessagePack."""
    return f"tasks:{tag(partition)}"


def dead(partition: int) -> str:
    """Stream: dead letters."""
    return f"dead:{tag(partition)}"


def catalogue(partition: int) -> str:
    """Hash: subject of a product that is offered -> what it is found by; `#` counts the changes."""
    return f"catalogue:{tag(partition)}"


def awaited(partition: int, subject: str) -> str:
    """Hash: buyer id, NUL, SKU ("" any) -> when that buyer asked to be told that the product is back."""
    return f"awaited:{tag(partition)}:{subject}"


def restocked(partition: int) -> str:
    """Hash: product's subject, NUL, a name for the turn -> the SKUs that came back, by line; gone once who waits was told."""
    return f"restocked:{tag(partition)}"


def busy(partition: int) -> str:
    """Hash: account and address of a message under way -> its id."""
    return f"busy:{tag(partition)}"


def queue(partition: int, account: str, lane: str, to: str) -> str:
    """List: messages that wait for an address, by lane (hi, lo)."""
    return f"q:{tag(partition)}:{account}:{lane}:{to}"


@cache
def sending(partition: int) -> str:
    """Sorted set: messages handed to a sender, by the time of the claim."""
    return f"sending:{tag(partition)}"


def later(partition: int) -> str:
    """Sorted set: messages and addresses that wait for a time (retries, doubts)."""
    return f"later:{tag(partition)}"


def unread(partition: int, account: str, to: str) -> str:
    """Sorted set, 9 days after its last change: the last messages to an address, by the time of their claim."""
    return f"unread:{tag(partition)}:{account}:{to}"


def seen(partition: int, day: int) -> str:
    """Set of event digests of one day (days since 1970)."""
    return f"seen:{tag(partition)}:{day}"


def provider_ids(partition: int, day: int) -> str:
    """Hash: digest of a provider's message id -> our message id, of one day."""
    return f"pid:{tag(partition)}:{day}"


def tries(partition: int) -> str:
    """Hash: stream entry -> times it was tried while suspect."""
    return f"tries:{tag(partition)}"


def visits(partition: int, buyer: str) -> str:
    """Hash, 30 days after its last change: s:<digest> a browser that was let in, l:<digest> a link opened, c a code asked for.

    t: tries of that code, f: of the second fact.
    """
    return f"visits:{tag(partition)}:{buyer}"


@cache
def erasures(partition: int) -> str:
    """Hash: id of a buyer whose turn of erasure has come -> what to look for; goes on to `erasing`."""
    return f"erasures:{tag(partition)}"


@cache
def cards(partition: int) -> str:
    """String: how many member numbers were drawn."""
    return f"cardno:{tag(partition)}"


# --- broadcasts: definitions and what is going on are kept in the slot of partition 0 ------------------------------------


BROADCASTS = "bcasts:{p00}"  # hash: id -> version, a space, MessagePack of bot.broadcasts.Broadcast
BROADCASTS_LIVE = "bclive:{p00}"  # hash: id -> state and version, of those where something may still happen


def broadcast(partition: int, id: str) -> str:
    """Hash: what a partition knows of a broadcast. st: its state, sv: the version that set it."""
    return f"bcast:{tag(partition)}:{id}"


def parked(partition: int, id: str) -> str:
    """List: messages of a paused broadcast that had come to the head of their queues."""
    return f"parked:{tag(partition)}:{id}"


# --- shared by all partitions -----------------------------------------------------------------------------------------


def campaign(key: str) -> list[str]:
    """A campaign's keys: description, its own codes, claims by buyer, claims not yet final, state by code."""
    braced = f"{{c:{key}}}"
    return [f"camp:{braced}", f"codes:{braced}", f"claims:{braced}", f"open:{braced}", f"code:{braced}"]


def coupon_codes(code: str) -> str:
    """Hash: coupon code -> campaign, one per first two characters."""
    return f"couponcode:{code[:2]}"


def rate(account: str) -> str:
    """String: when an account's rate limit is free again, µs."""
    return f"rate:{{{account}}}"


def spend(account: str, span: str) -> str:
    """Hash: what an account spent in a day (2026-11-01) or month (2026-11): t total, w share warned of, m:<id> a message."""
    return f"spend:{{{account}}}:{span}"


def provider_token(name: str) -> str:
    """Hash: a provider's access token, its end, who renews it."""
    return f"token:{{{name}}}"


def idempotency(digest: str) -> str:
    """String, 48 h: the answer given for an Idempotency-Key."""
    return f"idem:{digest}"


def sign_in(digest: str) -> str:
    """String, 24 h: the name of who signs in with a one-time code, by the code's digest."""
    return f"signin:{digest}"


def session(digest: str) -> str:
    """String, 12 h from the last use: who signed in at the console, by the cookie's digest."""
    return f"session:{digest}"


def guesses(who: str) -> str:
    """String, 15 min: how often an address proved nobody."""
    return f"guesses:{blake2b(who.encode(), digest_size=8).hexdigest()}"


def posted(id: str) -> str:
    """String, 1 h: this event came by the API; for counting repeats in its answer."""
    return f"posted:{blake2b(id.encode(), digest_size=8).hexdigest()}"


def guard(key: str) -> str:
    """A key in the slot of `key` that never exists; for a name that cannot be a tag the key itself, which guards nothing."""
    _, _, rest = key.partition("{")
    tag, closed, _ = rest.partition("}")
    whole = not (closed and tag)
    return key if whole and "}" in key else f"guard:{{{key if whole else tag}}}"
