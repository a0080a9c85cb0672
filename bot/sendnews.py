"""What a provider's refusal tells of an address or an account, as events for their records."""

from __future__ import annotations

from bot import subjects
from bot.clock import HOUR_MS
from bot.errors import NoGrantError, OptedOutError, SendError, UnreachableError, WindowClosedError
from bot.events import AccountAlert, Event, GrantChanged, Ms, StatusReported
from bot.messages import Notice, OutboundMessage


def of(message: OutboundMessage, error: SendError, now: Ms, *, doubted: bool) -> list[Event]:
    """The news that a refusal is, if any. `doubted`: an earlier call may have been taken, so the message did not fail."""
    news = [_alert(message, error, now)] if error.alert else []
    if isinstance(error, OptedOutError | UnreachableError | WindowClosedError):
        news.append(_refusal(message, error, now, doubted=doubted))
    return news


def of_grant(message: OutboundMessage, error: SendError | None, now: Ms) -> list[Event]:
    """What becomes of the leave that a message took, now that it certainly did not go.

    It is good for another one, unless the provider knows of none, or of nobody, there: then all that was given up to when the message
    was planned is void. One event per message, however often it is told.
    """
    if not isinstance(message.content, Notice):  # its buyer was erased meanwhile
        return []
    gone = isinstance(error, NoGrantError | UnreachableError)
    body = GrantChanged(message.content.template_id, "void" if gone else "back", message=message.id)
    at = message.created_at if gone else message.grant
    account, subject = message.account, subjects.address(message.account, message.to)
    return [Event(f"{account}|grant|{message.id}", subject, account, at, now, body)]


def _refusal(message: OutboundMessage, error: SendError, now: Ms, *, doubted: bool) -> Event:
    """A refusal that says something of the address, for the buyer's record.

    Its time is when the message was planned: a window that the buyer opened later is not the one that is shut.
    """
    soft = isinstance(error, OptedOutError) and error.marketing_only
    ref = "" if doubted else message.id
    body = StatusReported("failed", ref, code=error.code, reason=error.reason, marketing_only=soft)
    subject = subjects.address(message.account, message.to)
    return Event("", subject, message.account, message.created_at, now, body)


def _alert(message: OutboundMessage, error: SendError, now: Ms) -> Event:
    """What staff must do something about, for the account's record; one an hour and code."""
    account = message.account
    body = AccountAlert(kind="send", detail=f"{error.reason} {error.code}: {error}")
    return Event(f"{account}|{error.code}|{now // HOUR_MS}", subjects.account(account), account, now, now, body)
