"""Logs: one JSON line per unit of work, without secrets, texts or phone numbers."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import msgspec
import structlog

SECRET_KEYS = re.compile(r"secret|token|password|authorization|api_key|access_key", re.IGNORECASE)
_IN_TEXT = re.compile(r"(access_token=|Bearer\s+|secret=|key=)[^\s&\"']+", re.IGNORECASE)
_PHONE = re.compile(r"\+\d{6,14}(?=\D|$)")


def redact(value: str) -> str:
    """A text without tokens; phone numbers keep their last four digits."""
    if "=" not in value and "+" not in value and " " not in value:
        return value  # an id, a name, a word: nothing to hide in it
    value = _IN_TEXT.sub(lambda found: found[1] + "[redacted]", value)
    return _PHONE.sub(lambda found: "…" + found[0][-4:], value)


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = "[redacted]" if SECRET_KEYS.search(key) else _clean(value)
    return event


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: "[redacted]" if SECRET_KEYS.search(str(key)) else _clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(part) for part in value]
    return value


class _Libraries(logging.Handler):
    """What libraries log by the standard library, as our lines: the name of an error and its place, never its text."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        error = record.exc_info[1] if record.exc_info else None
        place = error.__traceback__ if error is not None else None
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place is not None else ""
        structlog.get_logger().log(
            record.levelno, "library", logger=record.name, detail=str(record.msg)[:200],
            **({"error": type(error).__name__, "place": where} if error is not None else {}),
        )  # fmt: skip


def configure(level: str = "info") -> None:
    """Sets logging up for this process: JSON lines on standard output."""
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one, _Libraries)]
    root.addHandler(_Libraries(logging.WARNING))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact_event,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )


def _dumps(value: Any, **_: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
