"""The console's words, in three languages: templates/console/words/*.toml, loaded once. All three say the same things."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.locales import LOCALES

FOLDER = Path(__file__).resolve().parents[2] / "templates" / "console"
NAMES: Mapping[str, str] = {"zh-CN": "简体中文", "zh-TW": "繁體中文", "en": "English"}
WORDS: Mapping[str, Mapping[str, Any]] = {
    locale: tomllib.loads((FOLDER / f"{locale}.toml").read_text("utf-8")) for locale in LOCALES
}
