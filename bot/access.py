"""Who may do what: API tokens, staff who sign in at the console, their sessions. Only digests of what proves them are kept.

Sessions, sign-in codes and lock-outs speak real time.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass

from bot import keys
from bot.clock import SystemClock
from bot.store import Store

ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset({"read", "service", "marketing", "owner"}),
    "marketing": frozenset({"read", "service", "marketing"}),
    "service": frozenset({"read", "service"}),
    "read-only": frozenset({"read"}),
}
"""What each role may do. Whatever is not named is denied."""


COOKIE = "touchpoint_session"
SIGN_IN_MS = 24 * 3_600_000
SESSION_MS = 12 * 3_600_000
LOCKED_MS = 15 * 60_000
MOST_GUESSES = 10


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls the API, and with which role."""

    name: str
    role: str


def digest(token: str) -> str:
    """What is stored of a token. A header may hold any bytes: they come as half surrogates."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


async def create_token(store: Store, name: str, role: str) -> str:
    """A new token; it can never be shown again."""
    token = f"tp_{secrets.token_urlsafe(32)}"
    body = {"name": name, "role": role, "created_at": SystemClock().real()}
    await store.command("HSET", keys.TOKENS, digest(token), json.dumps(body))
    return token


async def caller_of(store: Store, token: str) -> Caller | None:
    """The caller behind a token, None for an unknown one."""
    found = await store.command("HGET", keys.TOKENS, digest(token))
    if found is None:
        return None
    body = json.loads(found)
    return Caller(body["name"], body["role"])


# --- staff at the console ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has signed in. `csrf` comes back in the header X-CSRF-Token of every write."""

    caller: Caller
    csrf: str


async def add_staff(store: Store, name: str, role: str) -> str:
    """Makes somebody staff, or gives them another role; answers a code that signs them in once, within a day."""
    body = {"name": name, "role": role, "created_at": SystemClock().real()}
    await store.command("HSET", keys.STAFF, name, json.dumps(body))
    code = secrets.token_urlsafe(32)
    await store.command("SET", keys.sign_in(digest(code)), name, "PX", SIGN_IN_MS)
    return code


async def open_session(store: Store, proof: str, *, code: bool = False) -> str:
    """Signs in with an API token, or with a one-time code; answers the cookie, "" for what proves nobody."""
    if code:
        name = await store.command("GETDEL", keys.sign_in(digest(proof)))
        of = f"staff:{name.decode()}" if name is not None else ""
    else:
        of = f"token:{digest(proof)}"
    if not of or await _caller(store, of) is None:
        return ""
    cookie = secrets.token_urlsafe(32)
    body = {"of": of, "csrf": secrets.token_urlsafe(24)}
    await store.command("SET", keys.session(digest(cookie)), json.dumps(body), "PX", SESSION_MS)
    return cookie


async def session_of(store: Store, cookie: str) -> Session | None:
    """Whose session a cookie is, with the role that they have now; None for an unknown or ended one. It lives on from here."""
    name = keys.session(digest(cookie))
    found = await store.command("GETEX", name, "PX", SESSION_MS)
    if found is None:
        return None
    body = json.loads(found)
    caller = await _caller(store, body["of"])
    return Session(caller, body["csrf"]) if caller is not None else None


async def close_session(store: Store, cookie: str) -> None:
    """Signs out."""
    await store.command("DEL", keys.session(digest(cookie)))


async def _caller(store: Store, of: str) -> Caller | None:
    kind, _, name = of.partition(":")
    found = await store.command("HGET", keys.STAFF if kind == "staff" else keys.TOKENS, name)
    body = json.loads(found) if found is not None else None
    return Caller(body["name"], body["role"]) if body else None


async def locked_out(store: Store, who: str) -> bool:
    """Whether an address has guessed too often within 15 minutes."""
    return int(await store.command("GET", keys.guesses(who)) or 0) >= MOST_GUESSES


async def guessed(store: Store, who: str) -> None:
    """A proof from this address was wrong."""
    # Its end first: a process that died in between would leave a count without one.
    await store.command("SET", keys.guesses(who), 0, "PX", LOCKED_MS, "NX")
    await store.command("INCR", keys.guesses(who))


async def able(store: Store, may: str) -> frozenset[str]:
    """The names of everybody who may do something: of tokens, and of staff who sign in."""
    kept = [*await store.command("HVALS", keys.TOKENS), *await store.command("HVALS", keys.STAFF)]
    known = [json.loads(value) for value in kept]
    return frozenset(one["name"] for one in known if may in ROLES.get(one["role"], frozenset()))
