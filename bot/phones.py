"""Phone numbers: from what people type to E.164. Pure."""

from __future__ import annotations

import re
import unicodedata

import phonenumbers
from phonenumbers import PhoneNumberType

_MASKED = re.compile(r"[*xX•#]{2,}")
_ODD = re.compile(r"[^\d+\-() .]")
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
# A US or Canadian number does not tell whether it is a mobile one, so "unknown" must count as able.
_NO_TEXTS = frozenset(
    {
        PhoneNumberType.FIXED_LINE,
        PhoneNumberType.TOLL_FREE,
        PhoneNumberType.PREMIUM_RATE,
        PhoneNumberType.SHARED_COST,
        PhoneNumberType.UAN,
        PhoneNumberType.VOICEMAIL,
    }
)


def parse(text: str, country: str) -> str:
    """E.164 of a typed number by the shop's country, or "" for what is none (too short, masked, a short code)."""
    raw = unicodedata.normalize("NFKC", text).strip()
    if not raw or len(raw) > 32 or _MASKED.search(raw) or _ODD.search(raw):
        return ""
    try:
        number = phonenumbers.parse(raw, country or None)
    except phonenumbers.NumberParseException:
        return ""
    if not phonenumbers.is_valid_number(number):
        return ""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def is_e164(text: str) -> bool:
    """Whether a text is shaped like an E.164 number with plus: short codes and alphanumeric senders are not."""
    return _E164.fullmatch(text) is not None


def takes_texts(e164: str) -> bool:
    """False for a number that surely gets no SMS: a fixed line, a free or a premium one."""
    try:
        number = phonenumbers.parse(e164)
    except phonenumbers.NumberParseException:
        return False
    kind = phonenumbers.number_type(number)
    # Some islands' mobiles are listed as fixed lines of the +1 area.
    return kind not in _NO_TEXTS or (kind == PhoneNumberType.FIXED_LINE and number.country_code == 1)


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
