"""The last check, just before the provider call: what a message waits for must still hold. Pure over the records read."""

from __future__ import annotations

from collections.abc import Mapping

from bot import grants
from bot.events import Ms
from bot.messages import Notice, OutboundMessage
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
    if isinstance(content := message.content, Notice) and message.grant:
        buyer = _buyer(message, records)
        address = buyer.address(message.account, message.to) if buyer is not None else None
        if grants.is_void(address, content.template_id, message.grant):
            return SkipReason.WINDOW_CLOSED  # the leave that stood in for one was taken back
    if message.purpose == "marketing":
        return _consent_gone(message, records)
    return ""


def _buyer(message: OutboundMessage, records: Mapping[str, Record]) -> Buyer | None:
    record = records.get(message.home)
    if isinstance(record, Link):
        record = records.get(record.home)
    return record if isinstance(record, Buyer) else None


def _consent_gone(message: OutboundMessage, records: Mapping[str, Record]) -> str:
    buyer = _buyer(message, records)
    if buyer is None:
        return SkipReason.NO_CONSENT
    address = buyer.address(message.account, message.to)
    if address is None or address.opted_out or address.blocked:
        return SkipReason.OPTED_OUT
    if message.topic == "coupons" and address.consent.coupons != "refused":
        return ""  # a wish for one message is used up when that is planned; an opt-out since then refuses it
    if message.topic.startswith("product:"):
        return ""  # likewise
    return "" if address.consent.marketing == "granted" else SkipReason.NO_CONSENT
