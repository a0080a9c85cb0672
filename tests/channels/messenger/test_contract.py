"""Messenger passes the channel suite."""

from __future__ import annotations

from tests.channels.messenger.cases import CASE
from tests.contracts.channel import ChannelContract


class TestMessenger(ChannelContract):
    """All checks, by Messenger's table."""

    case = CASE
