"""The member club towards its members: an order is complete, a level is reached; what a card stands for in words."""

from __future__ import annotations

from collections.abc import Sequence

from bot.club import BASIC, given
from bot.effects import ClaimCoupon, ClaimResult, Effect, Note, Remember, Resolution, Say, Skip
from bot.events import TouchAsked
from bot.handling import Handler, Trigger, Turn
from bot.reasons import Rule, SkipReason
from bot.touching import values
from handlers.coupon_words import coupon_values, remind
from handlers.notices import case_open, order_of

SOURCE = "journey:level_gift/1"
VARS = ("item", "points", "level")


def standing(turn: Turn) -> dict[str, object]:
    """A card's level, points and rights for the wordings that show it; "" for what this shop does not keep."""
    member, rules = turn.buyer.member, turn.facts.club
    if member is None:
        return {}
    level = rules.find(member.level)
    named = level.key if level is not None else member.level
    return {
        "level": named if rules.graded or named != BASIC else "",
        "points": str(member.points) if rules.points_per or member.points else "",
        "rights": level.key if level is not None and level.rights else "",
    }


def completed(turn: Turn) -> Sequence[Effect]:
    """An order is complete: its points are in, and the level that they reached. Not while something is open."""
    touch = turn.event.body
    assert isinstance(touch, TouchAsked)
    member, order = turn.buyer.member, order_of(touch)
    if member is None or case_open(turn.buyer):
        gone = (
            (SkipReason.CASE_OPEN, Rule.CONVERSATION)
            if member is not None
            else (SkipReason.REASON_GONE, Rule.REASON_HOLDS)
        )
        return [Skip(touch.key, *gone, source=touch.source, order=order)]
    filled = values(touch.vars, *VARS)
    if filled["level"] and filled["level"] != member.level:
        filled["level"] = ""  # it went on, or fell, while the notice waited
    said = Say(
        key="order_completed",
        vars={**filled, "balance": str(member.points)},
        purpose="service",
        not_after=touch.not_after,
        guard=touch.guard,
        touch=touch.key,
        source=touch.source,
        order=order,
        spares_texts=True,
    )
    return [said]


def reached(turn: Turn) -> Sequence[Effect]:
    """What a level gives: claimed once per buyer and level, then told of to who agreed to hear of such things."""
    touch = turn.event.body
    assert isinstance(touch, TouchAsked)
    level = turn.facts.club.find(touch.vars["level"])
    if level is None or not level.gift:
        return []
    if given(level.key) not in turn.buyer.tallies:
        return [ClaimCoupon(level.gift, "level_gift", {"level": level.key})]
    # It waited for its hour: the coupon lies in the wallet since.
    held = next((one for one in turn.buyer.coupons if (one.campaign, one.state) == (level.gift, "claimed")), None)
    if held is None or 0 < held.expires_at <= turn.now:
        return []
    return [_told(turn, ClaimResult("again", held.campaign, held.code, held.expires_at), level.key)]


def claimed(turn: Turn, result: Resolution) -> Sequence[Effect]:
    """How the claim ended. A gift that has run out is not given later: staff read so in the timeline."""
    assert isinstance(result, ClaimResult)
    level = result.data["level"]
    if result.outcome not in ("won", "again"):
        return [Note("level", f"no gift {result.campaign} for {level}: {result.outcome}")]
    noted: list[Effect] = [Remember(given(level), replace=True), Note("level", f"gift {result.campaign} for {level}")]
    return [*noted, *remind(turn, result.code, result.expires_at), _told(turn, result, level)]


def _told(turn: Turn, result: ClaimResult, level: str) -> Say:
    touch = turn.event.body
    assert isinstance(touch, TouchAsked)
    return Say(
        "level_gift",
        {**coupon_values(turn, result), "level": level},
        purpose="marketing",
        touch=touch.key,
        source=SOURCE,
        not_after=touch.not_after,
    )


HANDLER = Handler(
    name="club",
    runs={Trigger("touch", "order_completed"): completed, Trigger("touch", "level_gift"): reached},
    continuations={"level_gift": claimed},
)
