"""The logistics trackers that exist: one package each (none yet)."""

from __future__ import annotations

from bot.ports import ShopType

ALL: tuple[ShopType, ...] = ()
