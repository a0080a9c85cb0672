"""QR codes as pictures, for the channels that show them."""

from __future__ import annotations

import io

import segno

from bot.errors import ContentError


def svg(text: str) -> str:
    """The QR code as SVG to stand in a page. Raises ContentError as `png` does."""
    if not text:
        raise ContentError("the QR code would hold nothing")
    try:
        return str(segno.make_qr(text, error="m").svg_inline(scale=8, border=0, omitsize=True))
    except ValueError:
        raise ContentError("the QR code would hold too much") from None


def png(text: str) -> bytes:
    """The QR code as PNG, of the full kind: phones do not read Micro QR. Raises ContentError if it cannot be drawn."""
    if not text:
        raise ContentError("the QR code would hold nothing")
    image = io.BytesIO()
    try:
        segno.make_qr(text, error="m").save(image, kind="png", scale=8, border=4)
    except ValueError:
        raise ContentError("the QR code would hold too much") from None
    return image.getvalue()
