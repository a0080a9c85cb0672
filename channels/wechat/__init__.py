"""WeChat Official Accounts (service accounts)."""

from channels.wechat.adapter import TYPE

__all__ = ["TYPE"]
