"""Configuration of a Twilio line."""

from __future__ import annotations

from pydantic import Field, SecretStr, model_validator

from bot.config import AccountConfig, Secrets


class TwilioConfig(AccountConfig):
    """`auth_token` signs webhooks (a list rotates) and, without an API key pair, signs in to the API.

    `smart_encoded` lets Twilio replace look-alikes (curly quotes, dashes) by GSM-7, which may save parts.
    `shared_keys` maps ids of Twilio's SharedKeys (`webhooks_sharedkey_…`) to their secrets.
    """

    account_sid: str = Field(pattern=r"^AC[0-9A-Za-z_]{2,62}$")
    auth_token: Secrets
    from_number: str = Field(default="", pattern=r"^(\+[1-9]\d{6,14}|\d{3,8}|[A-Za-z0-9 ]{1,11})?$")
    messaging_service_sid: str = Field(default="", pattern=r"^(MG[0-9A-Za-z_]{2,62})?$")
    api_key_sid: str = Field(default="", pattern=r"^(SK[0-9A-Za-z_]{2,62})?$")
    api_key_secret: SecretStr = SecretStr("")
    smart_encoded: bool = False
    shared_keys: dict[str, SecretStr] = Field(default_factory=dict)
    api_base: str = Field(default="https://api.twilio.com", pattern=r"^https?://[^/?#\s]+[^?#\s]*$")

    @model_validator(mode="after")
    def _whole(self) -> TwilioConfig:
        if bool(self.from_number) == bool(self.messaging_service_sid):
            raise ValueError("set exactly one of from_number and messaging_service_sid")
        if bool(self.api_key_sid) != bool(self.api_key_secret.get_secret_value()):
            raise ValueError("api_key_sid and api_key_secret go together; set both or neither")
        if not all(key.get_secret_value() for key in self.shared_keys.values()):
            raise ValueError("a secret in shared_keys is empty")
        return self

    @property
    def identity(self) -> tuple[str, str] | None:
        """The number or the Messaging Service; names and short codes may be shared by Twilio accounts."""
        if self.messaging_service_sid:
            return "messaging_service_sid", self.messaging_service_sid
        return ("from_number", self.from_number) if self.from_number.startswith("+") else None

    @property
    def login(self) -> tuple[str, str]:
        """Name and password of the API: the key pair where there is one."""
        if self.api_key_sid:
            return self.api_key_sid, self.api_key_secret.get_secret_value()
        return self.account_sid, self.auth_token[0].get_secret_value()
