"""Touchpoint's engine: no provider, no shop platform, no wording, no HTML."""
