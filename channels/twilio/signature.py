"""X-Twilio-Signature: the form as Twilio reads it, the string that is signed, and its proof.

Signed is the exact URL, then name and value of every form field, names sorted, a repeated name once per distinct value.
A body that is no form is proved by `bodySHA256` in the signed URL.
Source: https://www.twilio.com/docs/usage/webhooks/webhooks-security and …/webhook-shared-keys (2026-09).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from bot.errors import SignatureError
from bot.ports import RawRequest

Form = tuple[tuple[str, str], ...]

FORM_TYPE = "application/x-www-form-urlencoded"
MAX_FIELDS = 500  # Twilio sends about 30, and 3 for each of at most 10 attachments
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SETTINGS = re.compile(r"key=([0-9A-Za-z_-]{1,100}),algorithm=([0-9A-Z_]{1,30})")
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}
_DIGESTS = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}


def read_form(body: bytes) -> Form:
    """Decoded pairs in their order; blanks and repeats are kept. Raises SignatureError for what is no such form."""
    if body.count(b"&") >= MAX_FIELDS:
        raise SignatureError(f"the form has over {MAX_FIELDS} fields")
    return tuple(_pair(piece) for piece in body.split(b"&") if piece)


def _pair(piece: bytes) -> tuple[str, str]:
    if _BAD_ESCAPE.search(piece):
        raise SignatureError("the form holds a broken % escape")
    name, _, value = piece.replace(b"+", b" ").partition(b"=")
    try:
        return unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise SignatureError("the form is not UTF-8") from None


def string_to_sign(url: str, form: Form) -> str:
    """What Twilio signs. Names sort by code point, which is UTF-8's byte order."""
    return url + "".join(name + value for name, value in sorted(set(form)))


def sign(key: str, text: str, algorithm: str = "HMAC_SHA1") -> str:
    """The signature of a string, in base64."""
    return b64encode(hmac.digest(_bytes(key), _bytes(text), _DIGESTS[algorithm])).decode()


def urls(url: str) -> Iterator[str]:
    """The URL as it is, and with its default port added or removed: Twilio signs either."""
    yield url
    scheme, mark, rest = url.partition("://")
    port = _DEFAULT_PORTS.get(scheme, "")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest[len(host) :]
    if port and host.endswith(port):
        yield f"{scheme}{mark}{host.removesuffix(port)}{path}"
    elif port and (":" not in host or host.endswith("]")):
        yield f"{scheme}{mark}{host}{port}{path}"


def prove(request: RawRequest, tokens: Sequence[str], shared_keys: Mapping[str, str]) -> Form:
    """The form of a genuine request. Raises SignatureError for any other."""
    given = request.header("X-Twilio-Signature")
    if not given:
        raise SignatureError("X-Twilio-Signature is missing")
    keys, algorithm = _keys(request.header("X-Twilio-Webhooks-Signature-Settings"), tokens, shared_keys)
    form = _form(request)
    for url in urls(request.url):
        text = string_to_sign(url, form)
        if any(hmac.compare_digest(_bytes(sign(key, text, algorithm)), _bytes(given)) for key in keys):
            return form
    raise SignatureError("X-Twilio-Signature does not match; is server.public_url what Twilio calls?")


def _keys(settings: str, tokens: Sequence[str], shared_keys: Mapping[str, str]) -> tuple[Sequence[str], str]:
    """The keys that may have signed, and how."""
    if not settings:
        return tokens, "HMAC_SHA1"
    found = _SETTINGS.fullmatch(settings.replace(" ", ""))
    if found is None or found[2] not in _DIGESTS:
        raise SignatureError("X-Twilio-Webhooks-Signature-Settings names no known algorithm")
    if found[1] not in shared_keys:
        raise SignatureError("the SharedKey that signed is not in shared_keys")
    return [shared_keys[found[1]]], found[2]


def _form(request: RawRequest) -> Form:
    """The signed form fields; for another body, its hash in the URL is checked and there are none."""
    kind = request.header("Content-Type").partition(";")[0].strip().lower()
    if kind == FORM_TYPE:
        return read_form(request.body)
    if request.body or request.param("bodySHA256"):
        claimed = request.param("bodySHA256").lower()
        if not hmac.compare_digest(_bytes(hashlib.sha256(request.body).hexdigest()), _bytes(claimed)):
            raise SignatureError("bodySHA256 does not match the body")
    return ()


def _bytes(text: str) -> bytes:
    """As it came: what was no UTF-8 in a header or a target is kept as lone surrogates."""
    return text.encode("utf-8", "surrogateescape")
