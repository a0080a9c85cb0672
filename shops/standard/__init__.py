"""Any shop system that posts Standard Webhooks 1.0 over the gateway's own envelope."""

from shops.standard.adapter import TYPE

__all__ = ["TYPE"]
