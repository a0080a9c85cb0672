"""Configuration of a standard shop."""

from __future__ import annotations

import base64
import binascii

from pydantic import SecretStr, field_validator

from bot.config import AccountConfig, Secrets


class StandardConfig(AccountConfig):
    """`secret`: whsec_ + base64 of 24 to 64 bytes; a list rotates (current first)."""

    secret: Secrets

    @field_validator("secret")
    @classmethod
    def _decodable(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for secret in value:
            key = decode_secret(secret.get_secret_value())
            if not 16 <= len(key) <= 64:
                raise ValueError('must be "whsec_" followed by base64 of 24 to 64 random bytes')
        return value


def decode_secret(secret: str) -> bytes:
    """The key bytes of a `whsec_…` secret; b"" where it is none."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return b""
