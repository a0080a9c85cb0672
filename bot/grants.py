"""Leave for single notices: some templates may be used once for each time that the buyer said yes to one. Pure.

The leave is the provider's: it counts too, and refuses what it did not see given. What is counted here decides which way a notice
takes, and never uses more than was given: the moment of each yes is kept until a message takes it, the oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping

from bot.events import GrantChanged, Ms
from bot.records import Address, Grant

MOST_LEFT = 10
MOST_OUT = 10
MOST_TEMPLATES = 25
"""What is kept per address: a record is read and written in every turn. WeChat's accounts have 25 templates at most."""


def left(address: Address, template: str) -> int:
    """How many notices of a template may still go there. Who left the account gave up what was given before."""
    grant = address.grants.get(template)
    return sum(at > address.left_at for at in grant.given) if grant is not None else 0


def change(address: Address, body: GrantChanged, at: Ms) -> bool:
    """Applies what became of a template's leave; False where nothing changed. Events overtake each other: what was later counts."""
    grant = address.grants.get(body.template)
    if grant is None:
        if body.change in ("void", "back") or len(address.grants) >= MOST_TEMPLATES:
            return False
        grant = address.grants[body.template] = Grant()
    before = (list(grant.given), grant.void_until)
    match body.change:
        case "given" | "back":
            if at > grant.void_until:
                grant.given = sorted([*grant.given, at])[-MOST_LEFT:]
        case "taken" | "void":
            grant.void_until = max(grant.void_until, at)
            grant.given = [one for one in grant.given if one > at]
    if body.change in ("given", "taken") and at >= grant.at:
        grant.at, grant.verdict = at, "granted" if body.change == "given" else "refused"
        grant.source = body.source
    if body.message in grant.out:
        grant.out.remove(body.message)
    return before != (grant.given, grant.void_until)


def oldest(address: Address, template: str) -> Ms:
    """When the yes was given that the next message takes. Only where something is left."""
    return next(at for at in address.grants[template].given if at > address.left_at)


def use(address: Address, template: str, message: str) -> None:
    """A message takes the oldest yes. Its id is kept until its result is known."""
    grant = address.grants[template]
    grant.given.remove(oldest(address, template))
    grant.out = [*grant.out, message][-MOST_OUT:]


def told(address: Address, message: str) -> None:
    """A message's result is known."""
    for grant in address.grants.values():
        if message in grant.out:
            grant.out.remove(message)


def is_void(address: Address | None, template: str, at: Ms) -> bool:
    """Whether a yes that a message took was taken back since."""
    grant = address.grants.get(template) if address is not None else None
    return grant is not None and at <= grant.void_until


def join(mine: Address, theirs: Mapping[str, Grant]) -> None:
    """Takes over what was given to the same address while its buyer was another record."""
    for template, other in theirs.items():
        grant = mine.grants.get(template)
        if grant is None:
            mine.grants[template] = other
            continue
        grant.void_until = max(grant.void_until, other.void_until)
        grant.given = sorted(at for at in (*grant.given, *other.given) if at > grant.void_until)[-MOST_LEFT:]
        grant.out = [*other.out, *grant.out][-MOST_OUT:]
        if other.at > grant.at:
            grant.at, grant.verdict, grant.source = other.at, other.verdict, other.source
