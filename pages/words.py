"""What buyer pages say, per locale: `templates/pages/<locale>.toml`, one table per page."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bot.locales import LOCALES, negotiate

FOLDER = Path(__file__).resolve().parent.parent / "templates" / "pages"
NAMES = {"zh-CN": "简体", "zh-TW": "繁體", "en": "English"}


@cache
def words(locale: str) -> Mapping[str, str]:
    """The words of a locale, by `page.word`."""
    tables = tomllib.loads((FOLDER / f"{locale}.toml").read_text("utf-8"))
    return {f"{page}.{word}": text for page, entries in tables.items() for word, text in entries.items()}


def say(locale: str, key: str, **values: object) -> str:
    """One text with its values: `{name}` stands for one. A word that is missing is a mistake of ours (KeyError)."""
    return words(locale)[key].format(**values) if values else words(locale)[key]


def known(locale: str) -> str:
    """The locale itself if the pages speak it, else ""."""
    return locale if locale in LOCALES else ""


def accepted(header: str) -> str:
    """The first language of an Accept-Language header that the pages speak, "" for none."""
    tags = (part.partition(";")[0].strip() for part in header.split(",")[:10])
    return next((locale for locale in map(negotiate, tags) if locale), "")
