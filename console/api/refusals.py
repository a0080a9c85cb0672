"""An answer other than success."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from bot.problems import RETRY_AFTER_S, problem


class Refusal(Exception):  # noqa: N818  # an answer, not an error
    """An answer other than success. `errors`: (field, detail) pairs where there are several."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        field_name: str = "",
        errors: Sequence[tuple[str, str]] = (),
        location: str = "",
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.location = status, kind, detail, location
        self.errors = list(errors) or ([(field_name, detail)] if field_name else [])

    def answer(self) -> web.Response:
        """As a problem document."""
        made = problem(
            self.status,
            self.kind,
            self.detail,
            errors=self.errors,
            retry_after_s=RETRY_AFTER_S if self.status == 503 else 0,
        )
        if self.location:
            made.headers["Location"] = self.location
        if self.status == 401:
            made.headers["WWW-Authenticate"] = "Bearer"
        return made
