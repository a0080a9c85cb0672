"""What the gateway does: one module per buyer intent or shop event. Add a line to `ALL` to add one."""

from __future__ import annotations

from bot.handling import Handler

ALL: tuple[Handler, ...] = ()
