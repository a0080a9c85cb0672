"""How a configured account stands: may it send, and what has its provider told of it that is still true. Pure."""

from __future__ import annotations

from datetime import tzinfo
from typing import Literal

from msgspec import Struct

from bot import hours
from bot.clock import DAY_MS
from bot.events import Ms
from bot.records import AccountState

State = Literal["ok", "paused", "blocked", "trouble"]
MOST_SHOWN = 5
GOOD = {
    "unblock": ("block",),
    "naming_verify_success": ("naming_verify_fail",),
    "qualification_verify_success": ("qualification_verify_fail", "annual_renew", "verify_expired"),
}
"""Good news, and the kinds of alerts that it ends."""
LASTING = frozenset(kind for ended in GOOD.values() for kind in ended)
"""Alerts that stand until good news ends them; any other is news for a day."""
OF_SENDS = frozenset({"account", "content", "filtered", "throttled"})


class Alert(Struct, frozen=True):
    """What was told of an account: `kind` as in `AccountAlert`, `detail` in the provider's or the gateway's words."""

    at: Ms
    kind: str
    detail: str = ""

    @property
    def word(self) -> str:
        """Which plain words explain it (pages/landing_words.py, `alert_…`)."""
        if self.kind == "send":
            reason = self.detail.partition(" ")[0]
            return reason if reason in OF_SENDS else "send"
        if self.kind == "spend":
            return "spend_over" if self.detail.startswith("100 ") else "spend_near"
        if self.kind in ("naming_verify_fail", "qualification_verify_fail"):
            return "verify_fail"
        return self.kind if self.kind in LASTING else "policy"

    @property
    def topic(self) -> str:
        """What it is about: of one topic only the newest counts."""
        if self.kind == "spend":
            return f"spend {self.detail.partition(' of ')[2].partition(':')[0]}"
        return f"{self.kind} {self.word}"


class Standing(Struct, frozen=True):
    """One account at this moment. `alerts`: the last ones, newest first; `troubles`: those of them that still stand."""

    name: str
    type: str
    state: State
    alerts: tuple[Alert, ...] = ()
    troubles: tuple[Alert, ...] = ()


def standing(name: str, type: str, record: AccountState | None, *, wait_s: float, now: Ms, zone: tzinfo) -> Standing:
    """Blocked by its provider, else paused for `wait_s` seconds, else in trouble, else well."""
    told = alerts(record)
    open_ones = troubles(told, now, zone)
    state: State = "trouble" if open_ones else "ok"
    if wait_s > 0:
        state = "paused"
    if record is not None and record.blocked:
        state = "blocked"
    return Standing(name, type, state, told[:MOST_SHOWN], open_ones)


def alerts(record: AccountState | None) -> tuple[Alert, ...]:
    """What an account's record was told, newest first."""
    lines = [line.split(" ", 2) for line in reversed(record.alerts)] if record is not None else []
    return tuple(Alert(int(at), kind, *detail) for at, kind, *detail in lines)


def troubles(told: tuple[Alert, ...], now: Ms, zone: tzinfo) -> tuple[Alert, ...]:
    """The newest alert of each topic that still stands: until good news, in its day or month, or for a day."""
    found: dict[str, Alert] = {}
    ended = set[str]()
    for alert in told:
        if alert.kind in GOOD:
            ended.update(GOOD[alert.kind])
        elif alert.kind not in ended and alert.topic not in found and _stands(alert, now, zone):
            found[alert.topic] = alert
    return tuple(found.values())


def _stands(alert: Alert, now: Ms, zone: tzinfo) -> bool:
    if alert.kind in LASTING:
        return True
    if alert.kind == "spend":
        then, today = hours.local(alert.at, zone).date(), hours.local(now, zone).date()
        return (
            (then.year, then.month) == (today.year, today.month) if "monthly_budget" in alert.detail else then == today
        )
    return alert.at > now - DAY_MS
