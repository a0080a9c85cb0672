"""Reading a request's body: once, capped, and within 5 s, whoever sends it and however slowly."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.web_exceptions import HTTPRequestEntityTooLarge

from bot.errors import MediaTypeError, PayloadError, TooLargeError

DEADLINE_S = 5.0
MOST_FIELDS = 100
FORM = "application/x-www-form-urlencoded"


async def body_of(request: web.Request, cap: int) -> bytes:
    """The raw body. Raises MediaTypeError for an encoded one, TooLargeError over `cap` bytes, PayloadError where it stops half way."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise MediaTypeError("send the body without Content-Encoding")
    if (request.content_length or 0) > cap:
        raise TooLargeError(f"the body is over {cap} bytes")
    try:
        if request.content.is_eof():  # it came with the head, as nearly always: nothing to wait for
            body = await request.read()
        else:
            async with asyncio.timeout(DEADLINE_S):
                body = await request.read()
    except TimeoutError as error:
        raise PayloadError("the body did not arrive within 5 seconds") from error
    except (ConnectionError, web.RequestPayloadError) as error:
        raise PayloadError("the body ended half way") from error
    except HTTPRequestEntityTooLarge as error:
        raise TooLargeError(f"the body is over {cap} bytes") from error
    if len(body) > cap:
        raise TooLargeError(f"the body is over {cap} bytes")
    return body


async def form_of(request: web.Request, cap: int) -> dict[str, list[str]]:
    """The fields of a form, without NUL. Raises what `body_of` raises, and MediaTypeError or PayloadError for what is no form."""
    if request.content_type != FORM:
        raise MediaTypeError(f"send Content-Type: {FORM}")
    body = await body_of(request, cap)
    try:
        pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError as error:  # UnicodeDecodeError is one
        raise PayloadError("the form cannot be read: it is to be UTF-8, with few fields") from error
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value.replace("\0", ""))
    return found
