"""`touchpoint broadcast …`: what the API does with broadcasts, from the terminal, beside a running `serve`.

Exit codes: 0 done, 2 bad input, 3 no such thing, 4 it does not go with what is there, 5 the data cannot be reached now,
6 `watch`: it was cancelled.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import sys
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from bot.broadcasts import BroadcastState
from bot.errors import GatewayError, RequestError

if TYPE_CHECKING:
    from bot.bootstrap import Gateway
    from bot.settings import Settings
    from console.desk import Desk

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
BAD, MISSING, CONFLICT, AWAY, ENDED = 2, 3, 4, 5, 6
LOOK_S, LINE_S = 0.5, 5.0
ENDS: frozenset[BroadcastState] = frozenset({"done", "cancelled"})

app = typer.Typer(no_args_is_help=True, help="Messages to many: made, previewed, tested, sent, stopped, watched.")

Config = Annotated[Path, typer.Option("--config", help="The configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answers.")]
By = Annotated[str, typer.Option("--by", help="In whose name; your own on this machine if left out.")]
Confirm = Annotated[int | None, typer.Option("--confirm", help="How many it reaches, as previewed.")]
Id = Annotated[str, typer.Argument(help="Its id, bc_…")]
DEFAULT = Path("config.toml")


# --- the commands -----------------------------------------------------------------------------------------------------


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="The broadcast as JSON or TOML, as the API takes it; - reads JSON.")],
    by: By = "",
    json_output: AsJson = False,  # noqa: FBT002  # a flag
    config: Config = DEFAULT,
) -> None:
    """Make a draft from a file."""
    from console.api.broadcast_models import BroadcastIn  # noqa: PLC0415

    body = _body(file, BroadcastIn)

    async def work(desk: Desk, _: Gateway) -> dict[str, Any]:
        return await desk.shown(await desk.create(body, _name(by)))

    found = _at_desk(config, work)
    _print(found, json_output, lambda: f"{found['id']}: a draft, {found['title']}")
    if not json_output:
        _warn(found["warnings"])


@app.command()
def preview(id: Id, json_output: AsJson = False, config: Config = DEFAULT) -> None:  # noqa: FBT002  # a flag
    """Count who would get it, who would be skipped and why, parts and cost."""
    found = _at_desk(config, lambda desk, _: _previewed(desk, id))
    _print(found, json_output, lambda: "\n".join(_told(found)))


@app.command("test")
def send_test(
    id: Id,
    to: Annotated[list[str], typer.Option("--to", help="A number, ACCOUNT:ID, or a buyer's id; again for more.")],
    variant: Annotated[str, typer.Option("--variant")] = "",
    by: By = "",
    json_output: AsJson = False,  # noqa: FBT002  # a flag
    config: Config = DEFAULT,
) -> None:
    """Send a test; it is not counted."""
    from console.api.broadcast_models import TrialIn  # noqa: PLC0415
    from console.trial import send, trials  # noqa: PLC0415

    body = _model(TrialIn, {"to": [_receiver(one) for one in to], "variant": variant})

    async def work(desk: Desk, gateway: Gateway) -> dict[str, Any]:
        planned = await trials(desk, id, body)
        await send(gateway.appender, planned, _name(by), gateway.clock.now())
        return {"ids": [one.id for one in planned]}

    found = _at_desk(config, work)
    _print(found, json_output, lambda: "planned: " + ", ".join(found["ids"]))


@app.command()
def submit(
    id: Id, confirm: Confirm = None, by: By = "", json_output: AsJson = False, config: Config = DEFAULT  # noqa: FBT002  # a flag
) -> None:  # fmt: skip
    """Let a draft go, or hand it in for approval: shows whom it reaches and asks for the count."""
    found = _confirmed(id, "submit", confirm, by, config, ask=not json_output)
    _print(found, json_output, lambda: _stands(found))


@app.command()
def approve(
    id: Id, confirm: Confirm = None, by: By = "", json_output: AsJson = False, config: Config = DEFAULT  # noqa: FBT002  # a flag
) -> None:  # fmt: skip
    """Approve what somebody else handed in."""
    found = _confirmed(id, "approve", confirm, by, config, ask=not json_output)
    _print(found, json_output, lambda: _stands(found))


@app.command()
def resume(
    id: Id, confirm: Confirm = None, by: By = "", json_output: AsJson = False, config: Config = DEFAULT  # noqa: FBT002  # a flag
) -> None:  # fmt: skip
    """Let it go on; who is alone types the count of one that has outgrown what was agreed to."""
    found = _acted(id, "resume", confirm, by, config)
    _print(found, json_output, lambda: _stands(found))


def _deed(name: str, words: str) -> None:
    def command(id: Id, by: By = "", json_output: AsJson = False, config: Config = DEFAULT) -> None:  # noqa: FBT002  # a flag
        found = _acted(id, name, None, by, config)
        _print(found, json_output, lambda: _stands(found))

    app.command(name, help=words)(command)


_deed("withdraw", "Undo: back to a draft, while it has not begun.")
_deed("pause", "Hold it: nothing more goes out.")
_deed("cancel", "End it: what has not gone is skipped.")


@app.command()
def show(id: Id, json_output: AsJson = False, config: Config = DEFAULT) -> None:  # noqa: FBT002  # a flag
    """Where one stands, and what became of it."""
    found = _at_desk(config, lambda desk, _: _shown(desk, id))
    _print(found, json_output, lambda: "\n".join([_stands(found), *_results(found)]))


@app.command("list")
def list_all(
    state: Annotated[str, typer.Option("--state")] = "", json_output: AsJson = False, config: Config = DEFAULT  # noqa: FBT002  # a flag
) -> None:  # fmt: skip
    """List broadcasts, newest first."""

    async def work(desk: Desk, _: Gateway) -> list[dict[str, Any]]:
        return [await desk.shown(one) for one in await desk.broadcasts.list() if not state or one.state == state]

    found = _at_desk(config, work)
    _print(found, json_output, lambda: "\n".join(f"{one['id']}  {one['state']:18} {one['title']}" for one in found))


@app.command()
def watch(id: Id, json_output: AsJson = False, config: Config = DEFAULT) -> None:  # noqa: FBT002  # a flag
    """Follow one until it is done: done and total, rate, time left."""
    found = _at_desk(config, lambda desk, _: _followed(desk, id, quiet=json_output))
    _print(found, json_output, lambda: "\n".join([_stands(found), *_results(found)]))
    if found["state"] == "cancelled":
        raise typer.Exit(ENDED)


# --- asking -----------------------------------------------------------------------------------------------------------


def _acted(id: str, action: str, confirm: int | None, by: str, config: Path) -> dict[str, Any]:
    from console.api.broadcast_models import Seen  # noqa: PLC0415

    seen = Seen(confirm=confirm)

    async def work(desk: Desk, _: Gateway) -> dict[str, Any]:
        return await desk.shown(await desk.act(id, action, _name(by), seen))

    return _at_desk(config, work)


def _confirmed(id: str, action: str, confirm: int | None, by: str, config: Path, *, ask: bool) -> dict[str, Any]:
    """Submits or approves; who has not said the count is shown the preview and asked for it, where there is a terminal."""
    from console.api.broadcast_models import Seen  # noqa: PLC0415

    if confirm is None:
        found = _at_desk(config, lambda desk, _: _previewed(desk, id))
        if not ask or not sys.stdin.isatty():
            typer.echo(f"--confirm: it reaches {found['count']}; say so with --confirm {found['count']}", err=True)
            raise typer.Exit(BAD)
        typer.echo("\n".join(_told(found)))
        confirm = typer.prompt(f"Type {found['count']} to {action} it", type=int)
        if confirm != found["count"]:
            typer.echo("not the count: nothing was done", err=True)
            raise typer.Exit(BAD)
    seen = Seen(confirm=confirm)

    async def work(desk: Desk, _: Gateway) -> dict[str, Any]:
        how = desk.submit if action == "submit" else desk.approve
        return await desk.shown(await how(id, _name(by), seen))

    return _at_desk(config, work)


async def _shown(desk: Desk, id: str) -> dict[str, Any]:
    return await desk.shown(await desk.get(id))


async def _previewed(desk: Desk, id: str) -> dict[str, Any]:
    from console.api.broadcast_models import PreviewIn  # noqa: PLC0415
    from console.preview import preview as of  # noqa: PLC0415

    return await of(desk, PreviewIn(id=id), "")


def _receiver(text: str) -> dict[str, str]:
    if text.startswith("b_"):
        return {"buyer": text}
    return {"address": text} if ":" in text else {"phone": text}


def _name(by: str) -> str:
    return by or getpass.getuser()


def _body(file: Path, model: type[M]) -> M:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
        value = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise _bad(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise _bad(f"{file}: {error}") from error
    return _model(model, value)


def _model(model: type[M], value: Any) -> M:
    from console.api.http import faults_of  # noqa: PLC0415

    try:
        return model.model_validate_json(json.dumps(value, default=str))
    except ValidationError as error:
        for name, words in faults_of(error, model):
            typer.echo(f"{name}: {words}", err=True)
        raise typer.Exit(BAD) from error


def _bad(words: str) -> typer.Exit:
    typer.echo(words, err=True)
    return typer.Exit(BAD)


# --- the desk ---------------------------------------------------------------------------------------------------------


def _at_desk(config: Path, work: Callable[[Desk, Gateway], Awaitable[T]]) -> T:
    """Runs some work at the desk, on the data of a running serve or alone, and turns refusals into exit codes."""
    from bot.__main__ import read_config, serving_store  # noqa: PLC0415
    from console.api.refusals import Refusal  # noqa: PLC0415

    settings = read_config(config)
    try:
        with serving_store(settings):
            return asyncio.run(_run(settings, work))
    except Refusal as refusal:
        for field, words in refusal.errors or [("", refusal.detail)]:
            typer.echo(f"{field}: {words.removeprefix(field + ': ')}" if field else words, err=True)
        raise typer.Exit({400: BAD, 404: MISSING, 409: CONFLICT}.get(refusal.status, AWAY)) from refusal
    except RequestError as error:
        typer.echo(error.detail, err=True)
        raise typer.Exit({400: BAD, 404: MISSING, 409: CONFLICT}.get(error.status, AWAY)) from error
    except GatewayError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(AWAY) from error


async def _run(settings: Settings, work: Callable[[Desk, Gateway], Awaitable[T]]) -> T:
    from bot.bootstrap import build  # noqa: PLC0415

    gateway = await build(settings, "cli")
    try:
        return await work(gateway.desk, gateway)
    finally:
        await gateway.close()


# --- telling ----------------------------------------------------------------------------------------------------------


def _print(found: Any, as_json: bool, words: Callable[[], str]) -> None:  # noqa: FBT001  # of a flag
    typer.echo(json.dumps(found, ensure_ascii=False, indent=2) if as_json else words())


def _warn(warnings: Sequence[Mapping[str, Any]]) -> None:
    for one in warnings:
        typer.echo(f"note: {one['field']}: {one['detail']}", err=True)


def _told(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"reaches {found['count']} buyers" + (
        f"; {found['looked_at']} of them looked at" if found["looked_at"] < found["count"] else ""
    )
    for name, words in (("would_send", "get it by"), ("would_wait", "get it later:"), ("would_skip", "are skipped:")):
        for what, count in found[name].items():
            yield f"  {count} {words} {what}"
    for what, count in found["excluded"].items():
        yield f"  {count} are left out by {what}"
    if found["holdout"]:
        yield f"  {found['holdout']} are held out"
    for name, count in found["without_value"].items():
        yield f"  {count} have no value for {name}"
    for one in found["cases"]:
        price = one["cost"] if isinstance(one["cost"], str) or one["cost"] is None else f"about {one['cost']['amount']} {one['cost']['currency']}"  # fmt: skip
        billed = f", billed as {one['parts']}, cost {price}" if one["parts"] else ""
        yield f"longest by {one['account']}: {one['length']} {one['unit']}{billed}: {one['text']}"
    for kind in ("faults", "warnings"):
        for one in found[kind]:
            yield f"{'fault' if kind == 'faults' else 'note'}: {one['field']}: {one['detail']}"
    if found["needs_approval"]:
        yield "a second person must approve it"


def _stands(found: Mapping[str, Any]) -> str:
    words = f"{found['id']}: {found['state'].replace('_', ' ')}, {found['title']}"
    if found["why"]:
        words += f" ({found['why']})"
    if found["state"] == "scheduled" and found["undo_until"]:
        words += f"; withdraw before {found['undo_until']} to undo"
    return words


def _results(found: Mapping[str, Any]) -> Iterator[str]:
    counts = found["counts"]
    if counts["planned"]:
        yield ", ".join(f"{name.replace('_', ' ')} {counts[name]}" for name in counts)
    for name, state in (
        ("skipped_by_reason", "skipped"),
        ("failed_by_reason", "failed"),
        ("failed_by_code", "of these"),
    ):
        for reason, count in sorted(found[name].items(), key=lambda pair: -pair[1]):
            yield f"  {state}: {reason} {count}"


async def _followed(desk: Desk, id: str, *, quiet: bool) -> dict[str, Any]:
    with _meter(quiet=quiet) as tell:
        while True:
            found = await _shown(desk, id)
            tell(found)
            if found["state"] in ENDS and (found["done_at"] or found["state"] == "done"):
                return found
            if found["state"] == "draft":
                raise RequestError("it is a draft: submit it first")
            await asyncio.sleep(LOOK_S)


@contextmanager
def _meter(*, quiet: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """How far it is: a bar at a terminal, a line now and then elsewhere."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True)
    if quiet:
        yield lambda _: None
    elif console.is_terminal:
        with _bar(console) as tell:
            yield tell
    else:
        yield _lines()


@contextmanager
def _bar(console: Any) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(show_speed=True),
        TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None, rate="")

        def tell(found: Mapping[str, Any]) -> None:
            state, at = found["state"], found["progress"]
            speed = progress.tasks[0].speed
            rate = f"{speed:.0f}/s" if speed else ""
            progress.update(task, description=state, completed=at["done"], total=at["total"] or None, rate=rate)

        yield tell


def _lines() -> Callable[[Mapping[str, Any]], None]:
    import time  # noqa: PLC0415

    last: dict[str, Any] = {"at": 0.0, "state": "", "done": -1}

    def tell(found: Mapping[str, Any]) -> None:
        at, now = found["progress"], time.monotonic()
        changed = found["state"] != last["state"]
        if changed or (at["done"] != last["done"] and now - last["at"] >= LINE_S):
            rate = f", {at['per_second']}/s" if at["per_second"] else ""
            left = f", about {at['seconds_left']} s left" if at["seconds_left"] else ""
            typer.echo(f"{found['state']}: {at['done']} of {at['total']}{rate}{left}", err=True)
            last.update(at=now, state=found["state"], done=at["done"])

    return tell
