"""WeChat passes the channel suite."""

from __future__ import annotations

from tests.channels.wechat.cases import CASE
from tests.contracts.channel import ChannelContract


class TestWeChat(ChannelContract):
    """All checks, by WeChat's table."""

    case = CASE
