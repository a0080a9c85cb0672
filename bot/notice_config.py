"""`[notices.<notice>.<channel>]`: the approved provider templates for wordings."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from pydantic import Field

from bot.config import AccountConfig, Section
from bot.messages import NoticeKind


class NoticeConfig(Section):
    """One approved provider template. `kind` subscription: the buyer gives leave for each one (WeChat's 订阅通知)."""

    template_id: str = Field(min_length=1)
    kind: NoticeKind = "template"
    fields: dict[str, str] = Field(default_factory=dict)


def notice_faults(
    notices: Mapping[tuple[str, str], NoticeConfig],
    channels: Mapping[str, AccountConfig],
    subscribing: AbstractSet[str],
) -> list[str]:
    """Subscriptions where there are none, and templates that are said to be of both kinds: each is of one."""
    able = [name for name, config in channels.items() if config.type in subscribing]
    faults, first = [], dict[tuple[str, str], tuple[str, str]]()
    for (notice, account), config in notices.items():
        where = f"notices.{notice}.{account}"
        if config.kind == "subscription" and account in channels and account not in able:
            names = f", or name a channel that has them: {', '.join(able)}" if able else ""
            faults.append(
                f"{where}.kind = 'subscription': {account} has no subscription notices; write \"template\"{names}"
            )
        kind, other = first.setdefault((account, config.template_id), (config.kind, where))
        if kind != config.kind:
            faults.append(
                f"{where}.kind = {config.kind!r}: {other} has the same template_id as {kind!r}; it is of one kind"
            )
    return faults
