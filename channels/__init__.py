"""The channels that exist: one package per provider. Add a line to `ALL` to add one."""

from __future__ import annotations

from bot.ports import ChannelType
from channels import alibaba, messenger, twilio, wechat

ALL: tuple[ChannelType, ...] = (wechat.TYPE, messenger.TYPE, twilio.TYPE, alibaba.TYPE)
