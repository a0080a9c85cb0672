"""Configuration of a WeChat account."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from bot.config import AccountConfig, Secrets

SDK = "https://res.wx.qq.com/open/js/jweixin-1.6.0.js"


class WeChatConfig(AccountConfig):
    """`encoding_aes_key`: 43 characters (a list rotates). `mode`: safe when there is a key, else plain.

    `domain_check`: the 16 letters and digits of the file that the console gives out for a domain, `MP_verify_….txt`.
    `js_sdk`: the script by which WeChat shows its buttons on our pages.
    `timestamp_tolerance_s`: how far a request's timestamp may be from this machine's clock; 0 takes any.
    """

    app_id: str
    app_secret: SecretStr
    token: SecretStr
    encoding_aes_key: Secrets | None = None
    mode: Literal["safe", "compatible", "plain"] | None = None
    reply: Literal["auto", "api", "passive"] = "auto"
    api_base: str = "https://api.weixin.qq.com"
    js_sdk: str = SDK
    domain_check: tuple[str, ...] = ()
    timestamp_tolerance_s: int = Field(default=300, ge=0, le=86_400)

    @property
    def identity(self) -> tuple[str, str]:
        """The account: openids and access tokens are its own."""
        return "app_id", self.app_id

    @property
    def served(self) -> dict[str, str]:
        """WeChat asks for its file at the root of a domain before pages there may be opened as the account's."""
        return {f"MP_verify_{code}.txt": code for code in self.domain_check}

    @field_validator("domain_check", mode="before")
    @classmethod
    def _domain_check(cls, value: object) -> object:
        """One or a list; the file's name, or its code alone, which is all that the file holds."""
        given = value if isinstance(value, list | tuple) else [value]
        found = [re.fullmatch(r"(?:MP_verify_)?([0-9A-Za-z]{4,64})(?:\.txt)?", str(one)) for one in given]
        if not all(found):
            raise ValueError("must be what the file MP_verify_….txt holds: letters and digits")
        return tuple(one[1] for one in found if one)

    @field_validator("app_id")
    @classmethod
    def _app_id(cls, value: str) -> str:
        if not re.fullmatch(r"wx[0-9a-z]{6,32}", value):
            raise ValueError("must be the AppID that the console shows: wx and 16 letters and digits")
        return value

    @field_validator("app_secret")
    @classmethod
    def _secret(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
            raise ValueError("must be the AppSecret that the console shows, without blanks")
        return value

    @field_validator("token")
    @classmethod
    def _token(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[0-9A-Za-z_-]{3,32}", value.get_secret_value()):
            raise ValueError("must be the Token entered in the console: 3 to 32 letters, digits, - and _")
        return value

    @field_validator("api_base")
    @classmethod
    def _api(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+[^\s?#]*", value):
            raise ValueError('must be an address such as "https://api.weixin.qq.com"')
        return value

    @field_validator("js_sdk")
    @classmethod
    def _sdk(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+(/[A-Za-z0-9._~-]+)+\.js", value):
            raise ValueError(f'must be the address of a script such as "{SDK}"')
        return value

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
            raise ValueError(f'mode = "{self.mode}" needs encoding_aes_key: the 43 characters that the console shows')
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
