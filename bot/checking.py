"""`touchpoint check`: what it looks at, and what it says of each in plain words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from bot import storecheck
from bot.clock import rfc3339
from bot.club import told
from bot.errors import SendError
from bot.frontage import allowed_at
from bot.standing import Standing
from ledger import commands
from pages.landing_words import WORDS

if TYPE_CHECKING:
    from bot.bootstrap import Gateway


async def checked(gateway: Gateway) -> bool:
    """Prints what a gateway that is not served finds of its store, ledger, accounts and settings; whether all is well."""
    good = await _store_is_safe(gateway)
    ledger = await commands.checked(gateway.history.engine.url)
    for line in ledger.lines:
        typer.echo(line, err=not ledger.well)
    good = good and ledger.well
    await _tell_club(gateway)
    for one in await gateway.standings():
        try:
            typer.echo(f"{one.name}: {await gateway.lines[one.name].channel.check()}")
            if notices := await allowed_at(gateway, one.name):
                typer.echo(f"{one.name} notices: {notices}")
        except SendError as error:
            good = False
            typer.echo(f"{one.name}: {error}{f' (code {error.code})' if error.code else ''}", err=True)
        good = _told(one) and good
    for fault in gateway.settings.live_faults:
        good = False
        typer.echo(fault, err=True)
    return good


async def _tell_club(gateway: Gateway) -> None:
    """Prints what the club gives, and which of its campaigns are not there yet."""
    typer.echo(f"club: {told(gateway.settings.club_rules)}")
    for key in sorted(filter(None, (gateway.settings.club.gift, *gateway.settings.club_rules.gifts))):
        if await gateway.campaigns.get(key) is None and not (gateway.sandbox and key == "WELCOME"):
            typer.echo(f"club: there is no campaign {key} yet; make it, or nobody gets it")


def _told(one: Standing) -> bool:
    """Prints what was told of an account and still stands, with its cure; False if its provider has blocked it."""
    words = WORDS["en"]
    for alert in one.troubles:
        typer.echo(
            f"{one.name}: since {rfc3339(alert.at)}: {alert.detail or alert.kind}. {words['alert_' + alert.word]}"
        )
    if one.state == "blocked" and not any(alert.kind == "block" for alert in one.troubles):
        typer.echo(f"{one.name}: {words['alert_block']}")
    return one.state != "blocked"


async def _store_is_safe(gateway: Gateway) -> bool:
    section = gateway.settings.redis
    found = await storecheck.inspect(gateway.store, replicas=section.replicas_to_wait_for, url=section.url)
    for fault in found:
        typer.echo(f"{fault} ({fault.void})", err=True)
    if not found:
        typer.echo("redis: keeps what it acknowledges")
    for note in await storecheck.observe(gateway.store, url=section.url):
        typer.echo(f"redis: {note}")
    return not found or section.allow_unsafe
