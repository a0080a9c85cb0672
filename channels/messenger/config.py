"""Configuration of a Messenger page."""

from __future__ import annotations

from pydantic import Field, SecretStr

from bot.config import AccountConfig, Secrets


class MessengerConfig(AccountConfig):
    """`app_secret` signs webhooks (a list rotates); `graph_version` such as v26.0.

    `appsecret_proof`: calls carry a proof by the app secret, for apps that require it.
    """

    page_id: str = Field(pattern=r"^\d{1,30}$")
    app_id: str = Field(default="", pattern=r"^\d{0,30}$")
    app_secret: Secrets
    verify_token: SecretStr = Field(min_length=1)
    page_access_token: SecretStr = Field(min_length=1)
    appsecret_proof: bool = False
    graph_version: str = Field(default="v26.0", pattern=r"^v\d{1,3}\.\d$")
    api_base: str = Field(default="https://graph.facebook.com", pattern=r"^https?://[^/?#\s]+[^?#\s]*$")

    @property
    def identity(self) -> tuple[str, str]:
        """The page: it has one conversation with each buyer."""
        return "page_id", self.page_id
