"""The closed lists: rules of a decision, reasons of a skip, reasons of a failure. `docs/reasons.md` explains each."""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """A rule that a decision weighs."""

    CONSENT = "consent"
    OPT_OUT = "opt_out"
    BLOCKED = "blocked"
    STAFF_OWN = "staff_own"
    WINDOW = "window"
    QUOTA = "quota"
    MARKETING_HOURS = "marketing_hours"
    SERVICE_HOURS = "service_hours"
    MARKETING_PER_WEEK = "marketing_per_week"
    MARKETING_PER_DAY = "marketing_per_day"
    SERVICE_PER_DAY = "service_per_day"
    REACHABLE = "reachable"
    ADDRESS = "address"
    TEMPLATE = "template"
    GRANT = "grant"
    REASON_HOLDS = "reason_holds"
    IN_CITY_HOLD = "in_city_hold"
    NOT_AFTER = "not_after"
    ALREADY_SENT = "already_sent"
    CONVERSATION = "conversation"
    CLOSES_TOO_SOON = "closes_too_soon"
    CHANNEL = "channel"
    SPEND = "spend"
    WORDING = "wording"
    HOLDOUT = "holdout"
    BROADCAST = "broadcast"


class SkipReason(StrEnum):
    """Why a planned message was not sent."""

    OPTED_OUT = "opted_out"
    NO_CONSENT = "no_consent"
    BLOCKED = "blocked"
    NO_ADDRESS = "no_address"
    UNREACHABLE = "unreachable"
    WINDOW_CLOSED = "window_closed"
    QUOTA_USED = "quota_used"
    NO_TEMPLATE = "no_template"
    STAFF_OWN = "staff_own"
    CAP_REACHED = "cap_reached"
    REASON_GONE = "reason_gone"
    TOO_LATE = "too_late"
    ALREADY_SENT = "already_sent"
    CLOSES_TOO_SOON = "closes_too_soon"
    BUYER_ACTIVE = "buyer_active"
    ORDERED_SINCE = "ordered_since"
    CASE_OPEN = "case_open"
    ERASED = "erased"
    CANCELLED = "cancelled"
    SPEND_LIMIT = "spend_limit"
    CALL_MADE = "call_made"
    MERGED = "merged"
    MISSING_VALUE = "missing_value"
    HOLDOUT = "holdout"


class FailureReason(StrEnum):
    """Why a message that was handed to a provider failed."""

    REJECTED = "rejected"
    CONTENT = "content"
    OPTED_OUT = "opted_out"
    WINDOW_CLOSED = "window_closed"
    UNREACHABLE = "unreachable"
    ACCOUNT = "account"
    PROVIDER_DOWN = "provider_down"
    NO_CONNECTION = "no_connection"
    THROTTLED = "throttled"
    NO_ANSWER = "no_answer"
    EXPIRED = "expired"
    FILTERED = "filtered"
    PROVIDER_ERROR = "provider_error"
    BUG = "bug"
