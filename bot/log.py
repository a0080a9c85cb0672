"""Logs: one JSON line per unit of work, without secrets, texts or phone numbers."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from collections.abc import MutableMapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import structlog

SECRET_KEYS = re.compile(r"secret|token|password|authorization|api_key|access_key", re.IGNORECASE)
_IN_TEXT = re.compile(r"(access_token=|Bearer\s+|secret=|key=)[^\s&\"']+", re.IGNORECASE)
_LINK = re.compile(r"/b/[0-9A-Za-z]{36}")
_level = logging.INFO
_PHONE = re.compile(r"\+\d{6,14}(?=\D|$)")


def redact(value: str) -> str:
    """A text without tokens; phone numbers keep their last four digits."""
    if "=" not in value and "+" not in value and " " not in value and "/b/" not in value:
        return value  # an id, a name, a word: nothing to hide in it
    value = _LINK.sub("/b/[redacted]", value)
    value = _IN_TEXT.sub(lambda found: found[1] + "[redacted]", value)
    return _PHONE.sub(lambda found: "…" + found[0][-4:], value)


@cache  # keys are the few that the code names
def _secret(key: str) -> bool:
    return SECRET_KEYS.search(key) is not None


def _redact_event(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        event[key] = "[redacted]" if _secret(key) else _clean(value)
    return event


def log_line(event: str, **fields: Any) -> bytes:
    """The line that `info(event, **fields)` would write, for `write_lines`: at a fifth of its cost, where every message has one."""
    _redact_event(None, "", fields)
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return _dumps({**fields, "event": event, "level": "info", "timestamp": now}) + b"\n"


def write_lines(lines: Sequence[bytes]) -> None:
    """Writes lines in one go, if the level asks for them."""
    if _level <= logging.INFO:
        sys.stdout.buffer.write(b"".join(lines))
        sys.stdout.buffer.flush()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: "[redacted]" if SECRET_KEYS.search(str(key)) else _clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(part) for part in value]
    return value


def places(error: BaseException, most: int = 12) -> str:
    """An error's kind and the lines that led to it, nearest first. Not its words: they may quote a buyer's."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-most:])
    lines = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)
    return f"{type(error).__name__} at {lines}" if lines else type(error).__name__


def _error_without_words(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    found = event.pop("exc_info", None)
    error = found if isinstance(found, BaseException) else sys.exc_info()[1] if found else None
    if error is not None:
        event["exception"] = places(error)
        if error.__cause__ is not None:
            event["cause"] = places(error.__cause__)
    return event


class _Libraries(logging.Handler):
    """What libraries log by the standard library, as our lines: the name of an error and its place, never its text."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record."""
        error = record.exc_info[1] if record.exc_info else None
        where = places(error, 1).partition(" at ")[2] if error is not None else ""
        structlog.get_logger().log(
            record.levelno, "library", logger=record.name, detail=str(record.msg)[:200],
            **({"error": type(error).__name__, "place": where} if error is not None else {}),
        )  # fmt: skip


def configure(level: str = "info") -> None:
    """Sets logging up for this process: JSON lines on standard output."""
    global _level  # noqa: PLW0603  # as structlog's own configuration is the process's
    _level = getattr(logging, level.upper())
    root = logging.getLogger()
    root.handlers = [one for one in root.handlers if not isinstance(one, _Libraries)]
    root.addHandler(_Libraries(logging.WARNING))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _error_without_words,
            _redact_event,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )


def _dumps(value: Any, **_: Any) -> bytes:
    return msgspec.json.encode(value, enc_hook=str)
