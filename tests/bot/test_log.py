"""Logs never show a secret, a text or a phone number."""

from __future__ import annotations

import json
import logging
import re

import pytest
import structlog

from bot import log
from bot.log import redact


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GET https://x.example/send?access_token=AbC-123&x=1", "AbC-123"),
        ("Authorization: Bearer eyJ.abc.def", "eyJ.abc.def"),
        ("callback?key=0123456789abcdef ok", "0123456789abcdef"),
        ("app_secret=hunter2;", "hunter2"),
        ("+8613900001234", "+86139"),
        ("to +15005550006 and on", "+1500555"),
    ],
)
def test_texts_are_redacted(text: str, hidden: str) -> None:
    """Tokens go, phone numbers keep their last four digits."""
    assert hidden not in redact(text)


@pytest.mark.parametrize(
    "text", ["order 5001 paid", "wechat-main", "1+1=2", "m_1732440000-0", "2026-10-01T02:05:00+08:00"]
)
def test_harmless_texts_stay(text: str) -> None:
    """Ids, times and plain words are left as they are."""
    assert redact(text) == text


def test_a_line_is_json_without_secrets(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """One line of JSON; secret-looking names lose their values, nested ones too; a traceback is redacted as well."""
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    try:
        log.configure()
        logger = structlog.get_logger()
        logger.info("message", app_secret="hush", page={"token": "hush", "to": "+8613900001234"}, to=["+8613900001234"])
        try:
            raise ValueError("https://x.example/?access_token=hush")
        except ValueError:
            logger.exception("failed")
        try:
            raise ValueError("what a buyer wrote: hush")
        except ValueError as error:
            logger.error("turn failed", exc_info=error)
    finally:
        logging.getLogger().handlers = handlers
        structlog.configure(**before)
    out = capfdbinary.readouterr().out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["message", "failed", "turn failed"]
    assert all(re.fullmatch(r"ValueError at test_log.py:\d+", line["exception"]) for line in lines[1:])
    assert b"hush" not in out
    assert b"8613900001234" not in out
    assert b"ValueError" in out


def test_the_fast_line_is_the_loggers_own(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """What is written without the logger has the same keys in the same order, and the same redaction."""
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    fields = {"id": "m_1", "api_key": "hush", "to": "to +8613900001234", "page": {"token": "hush"}, "ms": 1.5}
    try:
        log.configure()
        structlog.get_logger().info("message", **fields)
        log.write_lines([log.log_line("message", **fields)] * 2)
        log.configure("warning")
        log.write_lines([log.log_line("message", **fields)])
    finally:
        log.configure()
        logging.getLogger().handlers = handlers
        structlog.configure(**before)
    slow, *fast = (json.loads(line, object_pairs_hook=list) for line in capfdbinary.readouterr().out.splitlines())
    assert len(fast) == 2
    for line in fast:
        assert line[:-1] == slow[:-1]
        assert len(line[-1][1]) == len(slow[-1][1])
        assert "hush" not in str(line)


def test_libraries_show_no_content(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """A library's error is one line with its kind and place; its arguments and the error's text stay out."""
    before, handlers = structlog.get_config(), list(logging.getLogger().handlers)
    try:
        log.configure()
        try:
            raise ValueError("hush")
        except ValueError:
            logging.getLogger("aiohttp.server").exception("Error handling request from %s", "hush")
    finally:
        logging.getLogger().handlers = handlers
        structlog.configure(**before)
    out = capfdbinary.readouterr().out
    line = json.loads(out)
    assert (line["logger"], line["error"]) == ("aiohttp.server", "ValueError")
    assert line["place"].startswith("test_log.py:")
    assert b"hush" not in out
