"""Configuration of an Alibaba Cloud SMS line."""

from __future__ import annotations

import math
import re
from ipaddress import IPv4Network, IPv6Network

from pydantic import Field, SecretStr, field_validator

from bot.config import AccountConfig, Secrets

KEY_BITS = 128
_ALPHABETS = ((r"[0-9]+", 10), (r"[0-9a-f]+|[0-9A-F]+", 16), (r"[0-9a-z]+|[0-9A-Z]+", 36), (r"[0-9A-Za-z_-]+", 64))


class AlibabaConfig(AccountConfig):
    """`callback_key` stands in the callback URLs as `?key=` (a list rotates): Alibaba Cloud signs nothing.

    `allow_ips` are the addresses that callbacks may come from, as the gateway sees them; empty: any.
    """

    access_key_id: str = Field(pattern=r"^[0-9A-Za-z._-]{4,128}$")
    access_key_secret: SecretStr = Field(min_length=1)
    sign_name: str = Field(min_length=1, max_length=40)
    callback_key: Secrets
    allow_ips: tuple[IPv4Network | IPv6Network, ...] = ()
    up_extend_code: str = Field(default="", pattern=r"^\d{0,10}$")
    api_base: str = Field(default="https://dysmsapi.aliyuncs.com", pattern=r"^https?://[^/?#\s]+[^?#\s]*$")

    @field_validator("callback_key")
    @classmethod
    def _hard_to_guess(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(bits_of(key.get_secret_value()) < KEY_BITS for key in keys):
            raise ValueError(
                "needs 128 random bits of a-z, A-Z, 0-9, - and _: take the output of `openssl rand -hex 16`"
            )
        return keys

    @field_validator("sign_name")
    @classmethod
    def _bare(cls, name: str) -> str:
        if "【" in name or "】" in name:
            raise ValueError("write the signature without 【 and 】, as the console lists it")
        return name


def bits_of(key: str) -> float:
    """The most randomness that a key of this shape can hold; 0 if it has a character that no URL takes unescaped."""
    if len(set(key)) < 8:
        return 0
    size = next((size for shape, size in _ALPHABETS if re.fullmatch(shape, key)), 1)
    return len(key) * math.log2(size)
