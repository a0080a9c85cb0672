"""What the configuration means to the engine's services: templates, limits, policy, the order of accounts."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import TemplateError

from bot.costs import Tariff
from bot.errors import ConfigError
from bot.policy import PolicySettings
from bot.ports import Capabilities
from bot.settings import Settings
from bot.speaking import NoticeTemplate
from bot.spend import Limits, Spend
from bot.wording import Filling, Wordings


def notice_templates(settings: Settings, wordings: Wordings) -> dict[tuple[str, str], NoticeTemplate]:
    """The approved provider templates, their fields compiled. Raises ConfigError naming every field at fault."""
    found: dict[tuple[str, str], NoticeTemplate] = {}
    faults: list[str] = []
    for (key, account), notice in settings.notices.items():
        where = f"notices.{key}.{account}"
        if key not in wordings.keys:
            faults.append(f"{where}: there is no wording {key!r}")
            continue
        fields: dict[str, Filling] = {}
        for name, source in notice.fields.items():
            try:
                fields[name] = wordings.field(key, source)
            except (TemplateError, ValueError) as error:
                faults.append(f"{where}.fields.{name}: {error}")
        found[key, account] = NoticeTemplate(notice.template_id, fields, notice.kind)
    if faults:
        raise ConfigError(faults)
    return found


def limits(settings: Settings) -> dict[str, Limits]:
    """What the accounts with a limit may spend."""
    return {
        name: Limits(Tariff(p.currency, p.per_part), one.daily_spend_limit, one.monthly_budget)
        for name, one in settings.channels.items()
        if (p := one.prices) and (one.daily_spend_limit is not None or one.monthly_budget is not None)
    }


def policy(settings: Settings, able: Mapping[str, Capabilities], spend: Spend) -> PolicySettings:
    """What may be sent when."""
    policy = settings.policy
    return PolicySettings(
        accounts=able,
        timezone=settings.zone,
        marketing_hours=policy.marketing_hours,
        service_hours=policy.service_hours,
        marketing_per_week=policy.marketing_per_week,
        marketing_per_day=policy.marketing_per_day,
        service_per_day=policy.service_per_day,
        order_of_channels={str(purpose): tuple(accounts) for purpose, accounts in policy.order_of_channels.items()},
        notices=frozenset(settings.notices),
        subscriptions={
            where: notice.template_id for where, notice in settings.notices.items() if notice.kind == "subscription"
        },
        used_up=spend.used_up,
    )


def sms_order(settings: Settings, able: Mapping[str, Capabilities]) -> list[str]:
    """The accounts as service notices try them: the order in which one is chosen for a phone code."""
    wanted = [name for name in settings.policy.order_of_channels.get("service", []) if name in able]
    return wanted + [name for name in able if name not in wanted]


def countries(settings: Settings) -> list[str]:
    """Where phone codes may be sent."""
    return [settings.brand.country, *settings.codes.countries]
