"""Messenger: a Facebook page's chats."""

from channels.messenger.adapter import TYPE

__all__ = ["TYPE"]
