"""Alibaba Cloud SMS passes the suite of all channels."""

from __future__ import annotations

from tests.channels.alibaba.cases import CASE
from tests.contracts.channel import ChannelContract


class TestAlibaba(ChannelContract):
    """Every check of the suite, over Alibaba Cloud's table."""

    case = CASE
