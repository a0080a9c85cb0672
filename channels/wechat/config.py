"""Configuration of a WeChat account."""

from __future__ import annotations

import base64
import binascii
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from bot.config import AccountConfig, Secrets


class WeChatConfig(AccountConfig):
    """`encoding_aes_key`: 43 characters (a list rotates). `mode`: safe when there is a key, else plain."""

    app_id: str = Field(pattern=r"^wx[0-9a-z]{6,32}$")
    app_secret: SecretStr = Field(min_length=1)
    token: SecretStr = Field(min_length=3, max_length=32)
    encoding_aes_key: Secrets | None = None
    mode: Literal["safe", "compatible", "plain"] | None = None
    reply: Literal["auto", "api", "passive"] = "auto"
    api_base: str = "https://api.weixin.qq.com"

    @field_validator("encoding_aes_key")
    @classmethod
    def _keys(cls, value: tuple[SecretStr, ...] | None) -> tuple[SecretStr, ...] | None:
        for secret in value or ():
            if len(decode_key(secret.get_secret_value())) != 32:
                raise ValueError("must be the 43 characters that the console shows as EncodingAESKey")
        return value

    @field_validator("reply")
    @classmethod
    def _reply(cls, value: str) -> str:
        if value == "passive":
            raise ValueError('is not built yet; write "auto" or "api"')
        return value

    @model_validator(mode="after")
    def _mode(self) -> Self:
        if self.mode in ("safe", "compatible") and not self.encoding_aes_key:
            raise ValueError(f'mode = "{self.mode}" needs encoding_aes_key')
        if self.mode == "plain" and self.encoding_aes_key:
            raise ValueError('mode = "plain" beside a key: plain bodies are not covered by their signature; drop one')
        return self


def decode_key(key: str) -> bytes:
    """The 32 bytes of an EncodingAESKey, b"" where it is none."""
    if len(key) != 43:
        return b""
    try:
        return base64.b64decode(key + "=", validate=True)
    except (binascii.Error, ValueError):
        return b""
