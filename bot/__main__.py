"""The command line: `touchpoint …`, also `python -m bot …`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeVar

import typer

from bot.broadcast_commands import app as broadcast_app
from bot.errors import ConfigError, GatewayError
from ledger.cli import commands_with

if TYPE_CHECKING:
    from bot.settings import Settings
    from bot.sheets import Sheet
    from bot.store import Store

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # they hold tokens and texts
    help="The messenger of an online shop.",
)
token_app = typer.Typer(no_args_is_help=True, help="Access tokens of the REST API.")
staff_app = typer.Typer(no_args_is_help=True, help="People who sign in at the console.")
coupons_app = typer.Typer(no_args_is_help=True, help="Coupon campaigns.")
links_app = typer.Typer(no_args_is_help=True, help="Links to buyer pages.")
app.add_typer(token_app, name="token")
app.add_typer(links_app, name="links")
products_app = typer.Typer(no_args_is_help=True, help="The product catalogue.")
app.add_typer(broadcast_app, name="broadcast")
app.add_typer(staff_app, name="staff")
app.add_typer(coupons_app, name="coupons")
members_app = typer.Typer(no_args_is_help=True, help="Members.")
app.add_typer(products_app, name="products")
app.add_typer(members_app, name="members")

Config = Annotated[Path, typer.Option("--config", help="The configuration file.")]
DEFAULT = Path("config.toml")
LONGEST_NAME = 60
PROJECTOR_NICE = 10  # its work waits well: buyers' messages go first on a machine with few cores
T = TypeVar("T")


def _settings(path: Path) -> Settings:
    """The configuration; its faults are printed, one a line. Raises typer.Exit."""
    import channels  # noqa: PLC0415  # commands load only what they need: serve starts without the engine
    import shops  # noqa: PLC0415
    import trackers  # noqa: PLC0415
    from bot.settings import load  # noqa: PLC0415

    try:
        return load(path, channels.ALL, shops.ALL, trackers.ALL)
    except ConfigError as error:
        for fault in error.faults:
            typer.echo(fault, err=True)
        raise typer.Exit(2) from error


def _with_store(path: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    from bot.opening import open_store  # noqa: PLC0415

    settings = _settings(path)

    async def run() -> T:
        store = await open_store(settings, "cli")
        try:
            return await work(store)
        finally:
            await store.client.aclose()

    try:
        with _server(settings):
            return asyncio.run(run())
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


@contextmanager
def _server(settings: Settings) -> Iterator[None]:
    """The embedded server, if that is configured: the one of a running serve, else one for this command only."""
    from bot.embedded import SCHEME, EmbeddedServer, directory_of  # noqa: PLC0415

    section = settings.redis
    if not section.url.startswith(SCHEME):
        yield
        return
    server = EmbeddedServer(directory_of(section.url, settings.root), max_memory_mb=section.max_memory_mb)
    server.ensure()
    try:
        yield
    finally:
        server.stop()


read_config, serving_store = _settings, _server  # for the commands that stand in modules of their own


@app.command()
def serve(config: Config = DEFAULT) -> None:
    """Start the gateway and keep it running."""
    from bot.supervisor import Supervisor  # noqa: PLC0415

    settings = _settings(config)
    if settings.live_faults:
        for fault in settings.live_faults:
            typer.echo(fault, err=True)
        raise typer.Exit(2)
    try:
        raise typer.Exit(Supervisor(settings).run())
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


Tied = Annotated[bool, typer.Option("--tied", help="End as by SIGTERM when stdin does.")]


def _tie() -> None:
    """Ends this process as SIGTERM does once its starter is gone, which holds the other end of its stdin."""

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True, name="tie").start()


@app.command(hidden=True)
def worker(config: Config = DEFAULT, owner: str = "solo", tied: Tied = False) -> None:  # noqa: FBT002  # a flag
    """One gateway process; started by serve."""
    from bot import log  # noqa: PLC0415
    from bot.process import run  # noqa: PLC0415

    if tied:
        _tie()
    log.configure()
    try:
        run(_settings(config), owner)
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


@app.command(hidden=True)
def projector(config: Config = DEFAULT, owner: str = "projector", tied: Tied = False) -> None:  # noqa: FBT002  # a flag
    """Copies what happens into the ledger; started by serve."""
    from bot import log  # noqa: PLC0415
    from bot.opening import open_store  # noqa: PLC0415
    from ledger import projector as projection  # noqa: PLC0415
    from ledger.database import database_url  # noqa: PLC0415

    if tied:
        _tie()
    log.configure()
    os.nice(PROJECTOR_NICE)
    settings = _settings(config)
    try:
        url = database_url(settings.ledger.url, settings.root)
        projection.serve(
            lambda: open_store(settings, owner), url, owner, currency=settings.brand.currency, terms=settings.terms
        )
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


@app.command()
def check(config: Config = DEFAULT) -> None:
    """Check the configuration and reach every provider that can be reached."""
    settings = _settings(config)
    from bot.bootstrap import build  # noqa: PLC0415
    from bot.checking import checked  # noqa: PLC0415

    async def run() -> bool:
        gateway = await build(settings, "check")
        try:
            return await checked(gateway)
        finally:
            await gateway.close()

    try:
        with _server(settings):
            good = asyncio.run(run())
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if not good:
        raise typer.Exit(1)
    typer.echo("all well")


@token_app.command("create")
def token_create(name: str, role: Annotated[str, typer.Option("--role")], config: Config = DEFAULT) -> None:
    """Create an API token; it is printed once, alone on the last line."""
    from bot.access import create_token  # noqa: PLC0415

    _check_name(name, role)
    token = _with_store(config, lambda store: create_token(store, name, role))
    typer.echo(f"token for {name} ({role}); it is shown this once:")
    typer.echo(token)


def _check_name(name: str, role: str) -> None:
    from bot.access import ROLES  # noqa: PLC0415

    if role not in ROLES:
        typer.echo(f"--role {role}: must be one of {', '.join(ROLES)}", err=True)
        raise typer.Exit(2)
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        typer.echo(f"NAME: must be 1 to {LONGEST_NAME} printable characters", err=True)
        raise typer.Exit(2)


@staff_app.command("add")
def staff_add(name: str, role: Annotated[str, typer.Option("--role")], config: Config = DEFAULT) -> None:
    """Let somebody sign in at the console, or in another role: prints a one-time URL, good for a day, alone on the last line."""
    from bot.access import add_staff  # noqa: PLC0415

    _check_name(name, role)
    code = _with_store(config, lambda store: add_staff(store, name, role))
    typer.echo(f"{name} ({role}) signs in once with this address, within a day:")
    typer.echo(f"{_settings(config).public_url}/console/sign-in?code={code}")


@coupons_app.command("import")
def coupons_import(
    file: Path,
    campaign: Annotated[str, typer.Option("--campaign", help="Where codes go whose line names no campaign.")] = "",
    config: Config = DEFAULT,
) -> None:
    """Add own codes to campaigns: one per line, or CSV with `code` and `campaign`. All of them, or none."""
    from bot import importing  # noqa: PLC0415
    from bot.coupons import Coupons  # noqa: PLC0415

    try:
        found = importing.read(file, campaign)
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    total = sum(len(codes) for codes in found.codes.values())
    with typer.progressbar(length=total, label="checking codes", file=sys.stderr) as bar:
        done = _with_store(config, lambda store: importing.take(Coupons(store), found, bar.update))
    for key, count in done.items():
        typer.echo(f"{key}: {count} codes added")


@links_app.command("rotate")
def links_rotate(
    config: Config = DEFAULT,
    forget: Annotated[bool, typer.Option("--forget", help="Every link given out so far stops working.")] = False,  # noqa: FBT002  # a flag
) -> None:
    """Seal links to buyer pages with a new key from now on; it happens by itself each 30 days."""
    from bot.clock import SystemClock  # noqa: PLC0415
    from bot.links import Links  # noqa: PLC0415

    async def rotate(store: Store) -> None:
        links, now = Links(store), SystemClock().real()
        await links.refresh()
        await links.rotate(now, forget=forget)

    _with_store(config, rotate)
    typer.echo("links are sealed with a new key" + ("; the old ones end within a minute" if forget else ""))


@products_app.command("import")
def products_import(
    file: Path,
    shop: Annotated[str, typer.Option("--shop", help="Whose products they are; needed with several shops.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,  # noqa: FBT002
    config: Config = DEFAULT,
) -> None:
    """Add and change products from a CSV file, one row per variant. Rows at fault go into FILE.rejected.csv."""
    from bot import bulk, product_import  # noqa: PLC0415

    settings = _settings(config)
    named = _shop(settings, shop)
    found = _read(lambda: product_import.read(file, settings.brand.currency))

    async def run(store: Store) -> tuple[product_import.Done, bool]:
        done = await product_import.look(store, found, named)
        if dry_run:
            return done, True
        events = product_import.events(found, named, await bulk.now_of(store))
        with typer.progressbar(length=len(events), label="products", file=sys.stderr) as bar:
            await bulk.put_in(store, events, bar.update)
        return done, await bulk.handled(store)

    done, handled = _with_store(config, run)
    will = "would be" if dry_run else "are"
    typer.echo(f"{done.new} products {will} new, {done.known} changed, with {done.variants} variants")
    _finish(found.sheet, dry_run=dry_run, handled=handled)


def _shop(settings: Settings, shop: str) -> str:
    names = list(settings.shops)
    if shop in names or (not shop and len(names) == 1):
        return shop or names[0]
    known = ", ".join(names) or "none: add [shops.<name>] to the configuration"
    typer.echo(f"--shop {shop}: must be one of the configured shops: {known}", err=True)
    raise typer.Exit(2)


def _read(reading: Callable[[], T]) -> T:
    try:
        return reading()
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


def _finish(sheet: Sheet, *, dry_run: bool, handled: bool) -> None:
    """How the file was read and what was kept aside; exit code 1 where nothing was taken, or a dry run found a fault."""
    from bot.sheets import told_faults  # noqa: PLC0415

    for name in sheet.unknown:
        typer.echo(f"column {name!r}: not known, left out", err=True)
    if not handled:
        typer.echo("taken in; it is worked on as soon as `touchpoint serve` runs", err=True)
    if not sheet.rejected:
        return
    for line in told_faults(sheet):
        typer.echo(line, err=True)
    rows = f"{len(sheet.rejected)} row{'s' * (len(sheet.rejected) > 1)}"
    aside = None if dry_run else sheet.put_aside()
    typer.echo(f"{rows} kept aside in {aside}: mend and import that file" if aside else f"{rows} at fault", err=True)
    if dry_run or len(sheet.rejected) >= len(sheet.rows):
        raise typer.Exit(1)


@members_app.command("import")
def members_import(
    file: Path,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, change nothing.")] = False,  # noqa: FBT002
    config: Config = DEFAULT,
) -> None:
    """Take over members of another system from a CSV file. Without proof of consent they get service notices only."""
    from bot import bulk, member_import  # noqa: PLC0415
    from bot.phones import parse as parse_phone  # noqa: PLC0415

    settings = _settings(config)
    now = _with_store(config, bulk.now_of)
    found = _read(
        lambda: member_import.read(file, lambda text: parse_phone(text, settings.brand.country), settings.zone, now)
    )

    async def run(store: Store) -> tuple[member_import.Done, bool]:
        done = await member_import.look(store, found)
        if dry_run:
            return done, True
        events = member_import.events(found, file.name, await bulk.now_of(store))
        with typer.progressbar(length=len(events), label="members", file=sys.stderr) as bar:
            await bulk.put_in(store, events, bar.update)
        return done, await bulk.handled(store)

    done, handled = _with_store(config, run)
    for note in found.notes[:20]:
        typer.echo(note, err=True)
    if len(found.notes) > 20:
        typer.echo(f"and {len(found.notes) - 20} more", err=True)
    would = "would be" if dry_run else "are"
    typer.echo(
        f"{done.new} members {would} new; {done.known} were buyers already, {done.cards} of them with a card that stays"
    )
    typer.echo(f"{found.joined} rows joined to another of the same number, {found.renumbered} card numbers replaced")
    typer.echo(f"{found.unproved} said yes to marketing without proof: service notices only")
    _finish(found.sheet, dry_run=dry_run, handled=handled)


@members_app.command("export")
def members_export(
    file: Path,
    bom: Annotated[bool, typer.Option("--excel/--plain", help="With the mark by which Excel knows UTF-8.")] = True,  # noqa: FBT002
    config: Config = DEFAULT,
) -> None:
    """Write all members to a CSV file that only you may read."""
    from bot import member_export  # noqa: PLC0415
    from bot.queries import Queries  # noqa: PLC0415

    async def run(store: Store) -> int:
        with (
            member_export.opened(file, bom=bom) as out,
            typer.progressbar(length=store.partitions, label="members", file=sys.stderr) as bar,
        ):
            return await member_export.write(Queries(store), store.partitions, out, bar.update)

    try:
        count = _with_store(config, run)
    except OSError as error:
        typer.echo(f"{file}: cannot be written ({error.strerror})", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{count} members in {file}")


@app.command()
def adapters(json_output: Annotated[bool, typer.Option("--json")] = False) -> None:  # noqa: FBT002  # a flag
    """List the channels, shops and trackers that exist."""
    import channels  # noqa: PLC0415
    import shops  # noqa: PLC0415
    import trackers  # noqa: PLC0415

    kinds = (("channel", channels.ALL), ("shop", shops.ALL), ("tracker", trackers.ALL))
    found = [
        {"kind": kind, "name": one.name, "capabilities": _capabilities(one)} for kind, types in kinds for one in types
    ]
    if json_output:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    for one in found:
        typer.echo(f"{one['kind']:8} {one['name']}")


def _capabilities(one: object) -> dict[str, object]:
    able = getattr(one, "capabilities", None)
    if able is None:
        return {}
    return {
        "contents": sorted(able.contents),
        "text_limit": able.text_limit,
        "windows": sorted(able.windows),
        "free_text": able.free_text,
        "sms": able.sms,
    }


@app.command()
def journeys(json_output: Annotated[bool, typer.Option("--json")] = False) -> None:  # noqa: FBT002  # a flag
    """List the journeys that run."""
    names = (
        ("payment_reminder", "order.created"),
        ("cart", "checkout.updated"),
        ("parcel_care", "shipment.updated"),
        ("review_invite", "shipment.updated"),
        ("refund", "refund.requested"),
        ("coupon_expiring", "coupon.claimed"),
    )
    found = [{"name": name, "trigger": trigger, "version": 1, "enabled": True} for name, trigger in names]
    if json_output:
        typer.echo(json.dumps(found))
        return
    for one in found:
        typer.echo(f"{one['name']:20} {one['trigger']}")


@app.command()
def replay(deadletter_id: str, config: Config = DEFAULT) -> None:
    """Put a buried event back into its lane."""
    from bot.replay import replay as put_back  # noqa: PLC0415

    typer.echo(_with_store(config, lambda store: put_back(store, deadletter_id)))


@app.command()
def version() -> None:
    """The release."""
    from bot.bootstrap import release  # noqa: PLC0415

    typer.echo(release())


app.add_typer(commands_with(_settings, _with_store), name="ledger")


def main() -> NoReturn:
    """Entry point of the `touchpoint` script, of `serve`'s processes too."""
    code: object = 0
    try:
        app()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  # told as Python would tell it
        sys.excepthook(*sys.exc_info())
        code = 1
    _leave(code)


def _leave(code: object) -> NoReturn:
    """Ends the process without taking Python down, once all that was said is out.

    The thread in which pyreqwest works may still be handing over the last answer, also after its client was closed. If it
    meets Python's end there, it aborts the process: with exit code 134 and a stack, after everything went well.
    """
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    number = code if isinstance(code, int) else int(code is not None)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads it any more, or it was closed
            number = number or 1
    os._exit(number)


if __name__ == "__main__":
    main()
