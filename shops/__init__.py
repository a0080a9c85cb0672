"""The shop platforms that exist: one package each."""

from __future__ import annotations

from bot.ports import ShopType
from shops import standard

ALL: tuple[ShopType, ...] = (standard.TYPE,)
