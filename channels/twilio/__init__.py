"""Twilio: texts to and from a number or a Messaging Service."""

from channels.twilio.adapter import TYPE

__all__ = ["TYPE"]
