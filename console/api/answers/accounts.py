"""Channel accounts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from console.api.answers.base import Answer


class AlertOut(Answer):
    """What was told of an account."""

    at: datetime
    kind: str
    detail: str


class Account(Answer):
    """A channel account; its last alerts, newest first."""

    name: str
    type: str
    state: Literal["ok", "paused", "blocked", "trouble"]
    alerts: list[AlertOut]
