"""Phone numbers: from what people type to E.164. Pure."""

from __future__ import annotations

import re

import phonenumbers

_MASKED = re.compile(r"[*xX•]{2,}")


def parse(text: str, country: str) -> str:
    """E.164 of a typed number by the shop's country, or "" for what is none (too short, masked, a short code)."""
    raw = text.strip()
    if not raw or len(raw) > 32 or _MASKED.search(raw):
        return ""
    if not any(c.isdigit() for c in raw) or re.search(r"[^\d+\-() .\u00a0\uff0b\uff10-\uff19]", raw):
        return ""
    try:
        number = phonenumbers.parse(raw, country or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number(number):
        return ""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def country_of(e164: str) -> str:
    """ISO country of a number, "" where it has none."""
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(e164)) or ""
    except phonenumbers.NumberParseException:
        return ""


def prefix(e164: str) -> str:
    """A number without its last four digits: numbers bought in blocks share it."""
    return e164[:-4]


def mask(e164: str) -> str:
    """For people and logs: the last four digits only."""
    return f"…{e164[-4:]}" if len(e164) > 4 else "…"
