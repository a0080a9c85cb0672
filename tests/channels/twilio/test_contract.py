"""Twilio passes the suite of all channels."""

from __future__ import annotations

from tests.channels.twilio.cases import CASE
from tests.contracts.channel import ChannelContract


class TestTwilio(ChannelContract):
    """Every check of the suite, over Twilio's table."""

    case = CASE
