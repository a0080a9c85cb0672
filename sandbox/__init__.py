"""Simulated providers and the phone page to chat as a buyer; only with [sandbox] enabled = true."""
