"""Alibaba Cloud SMS (阿里云短信): approved templates to mainland numbers."""

from channels.alibaba.adapter import TYPE

__all__ = ["TYPE"]
