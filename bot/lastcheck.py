"""The last check, just before the provider call: what a message waits for must still hold. Pure over the records read."""

from __future__ import annotations

from collections.abc import Mapping

from bot.events import Ms
from bot.messages import OutboundMessage
from bot.orders import shop_subject, still_holds
from bot.reasons import SkipReason
from bot.records import Buyer, Link, Record


def refusal(message: OutboundMessage, records: Mapping[str, Record], now: Ms) -> str:
    """Why the message must not go any more, "" if it may."""
    if message.not_after and now > message.not_after:
        return SkipReason.TOO_LATE
    guard = message.guard
    if guard is not None and not still_holds(guard, records.get(guard.subject), records.get(shop_subject(guard))):
        return SkipReason.REASON_GONE
    if message.purpose == "marketing":
        return _consent_gone(message, records)
    return ""


def _consent_gone(message: OutboundMessage, records: Mapping[str, Record]) -> str:
    record = records.get(message.home)
    if isinstance(record, Link):
        record = records.get(record.home)
    if not isinstance(record, Buyer):
        return SkipReason.NO_CONSENT
    address = record.address(message.account, message.to)
    if address is None or address.opted_out or address.blocked:
        return SkipReason.OPTED_OUT
    if message.topic == "coupons" and address.consent.coupons != "refused":
        return ""  # a wish for one message is used up when that is planned; an opt-out since then refuses it
    if message.topic.startswith("product:"):
        return ""  # likewise
    return "" if address.consent.marketing == "granted" else SkipReason.NO_CONSENT
