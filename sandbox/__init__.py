"""Simulated providers and the phone page to chat as a buyer; only with [sandbox] enabled = true.

Nothing here imports the adapters: both sides speak the providers' protocols by themselves, so that a mistake of one is
not mirrored by the other.
"""
