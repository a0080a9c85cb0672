"""Template messages and subscription notices: our words made to fit WeChat's typed fields.

A value that breaks its type's rule is refused (47003) or cut on display, and the buyer gets no notice at all. Prose is cut;
numbers, codes and amounts are not: half of one is worse than none.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from bot.errors import ContentError
from bot.messages import Notice, OutboundMessage

_CUT = {"thing": 20, "name": 10, "phrase": 5}
_WHOLE = {
    "number": 32,
    "letter": 32,
    "symbol": 5,
    "character_string": 32,
    "amount": 14,
    "phone_number": 17,
    "car_number": 8,
}
_TYPE = re.compile(r"([a-z_]+?)\d*")
NOTHING = "无"


def template(message: OutboundMessage, notice: Notice) -> dict[str, Any]:
    """The body of `message/template/send`; our id dedups for 10 minutes. Raises ContentError, naming the field."""
    return {
        "touser": message.to,
        "template_id": notice.template_id,
        "client_msg_id": message.id[:32],
        "data": _data(notice),
    }


def subscription(message: OutboundMessage, notice: Notice) -> dict[str, Any]:
    """The body of `message/subscribe/bizsend`, which has no field that drops repeats. Raises ContentError, naming the field."""
    return {"touser": message.to, "template_id": notice.template_id, "data": _data(notice)}


def _data(notice: Notice) -> dict[str, dict[str, str]]:
    return {name: {"value": fit(name, value)} for name, value in notice.fields.items()}


def fit(name: str, value: str) -> str:
    """A value as the field's type (`thing1`, `amount3` …) takes it: no line breaks, controls or emoji, never empty."""
    text = " ".join("".join(c for c in value if c.isspace() or _shown(c)).split()) or NOTHING
    kind = found[1] if (found := _TYPE.fullmatch(name)) else ""
    if kind == "character_string" and text == NOTHING:
        return "-"  # this type takes no Chinese characters
    if (most := _WHOLE.get(kind)) and len(text) > most:
        raise ContentError(f"the template's field {name} takes {most} characters at most")
    most = _CUT.get(kind, 200)
    if kind == "name" and text.isascii():
        most = 20
    if len(text) <= most:
        return text
    return text[: most - 1].rstrip() + "…" if kind == "thing" else text[:most]


def _shown(char: str) -> bool:
    """Neither a control, half a character, nor an emoji or what joins them; ℃ and ㎡ stay."""
    kind = unicodedata.category(char)
    if kind in ("Cc", "Cf", "Cs", "Co", "Cn", "Me") or char in "\ufe0e\ufe0f":
        return False
    return not (kind in ("So", "Sk") and ("\u2190" <= char <= "\u2bff" or char >= "\U0001f000"))
