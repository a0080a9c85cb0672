"""The commands `touchpoint ledger …`. Light: what they need is loaded when one runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from sqlalchemy import URL

    from bot.settings import Settings
    from bot.store import Store

Config = Annotated[Path, typer.Option("--config", help="The configuration file.")]
DEFAULT = Path("config.toml")


class WithStore(Protocol):
    """Runs work on the configuration's store; faults end the command with their line."""

    def __call__(self, path: Path, work: Callable[[Store], Awaitable[Any]]) -> Any:
        """What the work answers."""
        ...


def commands_with(settings_of: Callable[[Path], Settings], with_store: WithStore) -> typer.Typer:
    """The commands, given how the command line reads its configuration and opens its store."""
    app = typer.Typer(no_args_is_help=True, help="The ledger: history in SQL.")

    @app.command("status")
    def status(config: Config = DEFAULT) -> None:
        """How far it is behind, what it holds, and whether it belongs to this store."""
        from ledger import commands  # noqa: PLC0415

        url = _url(settings_of(config))
        found = with_store(config, lambda store: commands.status(store, url))
        for line in found.lines:
            typer.echo(line, err=not found.well)
        if not found.well:
            raise typer.Exit(1)

    @app.command("rebuild")
    def rebuild(config: Config = DEFAULT) -> None:
        """Derive all tables anew from the raw journal. May be broken off: the projector, or the next rebuild, goes on."""
        from ledger import commands  # noqa: PLC0415

        settings = settings_of(config)
        url, currency = _url(settings), settings.brand.currency
        typer.echo(with_store(config, lambda store: commands.rebuilt(store, url, currency=currency)))

    @app.command("adopt")
    def adopt(config: Config = DEFAULT) -> None:
        """Go on with this store and this ledger, though they are of different origin: docs/ledger.md tells what that means."""
        from ledger import commands  # noqa: PLC0415

        url = _url(settings_of(config))
        typer.echo(with_store(config, lambda store: commands.adopt(store, url)))

    _add_readers(app, settings_of, with_store)
    return app


def _add_readers(app: typer.Typer, settings_of: Callable[[Path], Settings], with_store: WithStore) -> None:
    @app.command("retention")
    def retention(config: Config = DEFAULT) -> None:
        """What would go by age now (privacy.keep_months, ledger.raw_months). Only tells: serve deletes, a page at a time."""
        from ledger import commands  # noqa: PLC0415

        settings = settings_of(config)
        url = _url(settings)
        for line in with_store(config, lambda store: commands.due(store, url, settings.terms)):
            typer.echo(line)

    @app.command("export")
    def export(
        kind: Annotated[str, typer.Argument(help="consents, messages, decisions or timeline")],
        since: Annotated[str, typer.Option(help="The first day, or a time.")] = "",
        until: Annotated[str, typer.Option(help="The last day, or a time.")] = "",
        lines: Annotated[bool, typer.Option("--jsonl/--csv", help="One JSON object a line, or CSV.")] = False,  # noqa: FBT002
        out: Annotated[
            Path | None, typer.Option(help="A file that only you may read; without it, the terminal.")
        ] = None,
        config: Config = DEFAULT,
    ) -> None:
        """Write what was agreed to, sent or decided in a span of time; consents with the words that were shown."""
        from ledger import commands  # noqa: PLC0415

        settings = settings_of(config)
        commands.exported(settings, _url(settings), kind, (since, until), lines=lines, out=out)


def _url(settings: Settings) -> URL:
    from bot.errors import ConfigError  # noqa: PLC0415
    from ledger.database import database_url  # noqa: PLC0415

    try:
        return database_url(settings.ledger.url, settings.root)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
