"""One gateway process for the fault tests: as shipped, plus handlers that echo with a counter, and some that kill it.

Started by path with the tree of a release as PYTHONPATH, so that an older release runs with the same handlers.
"""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvloop

from bench.serve import ECHO
from bot import log, process, worker
from bot.bootstrap import Extras, build, read_settings
from bot.effects import Effect, Schedule
from bot.handling import Handler, Trigger, Turn
from bot.store import Store


def kill(_: Turn) -> Sequence[Effect]:
    """Ends the process in the middle of a turn."""
    os.kill(os.getpid(), signal.SIGKILL)
    return []


def kill_later(turn: Turn) -> Sequence[Effect]:
    """A timer that ends the process."""
    return [Schedule("killer", turn.now + 300)]


DEADLY = Handler(
    "deadly",
    {Trigger("intent", "kill"): kill, Trigger("intent", "later"): kill_later, Trigger("timer", "killer"): kill},
)
EXTRAS = Extras(
    handlers=(*ECHO.handlers, DEADLY),
    prefixes={**ECHO.prefixes, "kill ": "kill", "later ": "later"},
    templates=ECHO.templates,
)


def crash_at(point: str) -> None:
    """Ends the process at a step of the store: "settle-" before it, "settle+4" after its first 4 items, "take+" after any."""
    name, after, count = re.fullmatch(r"(\w+)([-+])(\d*)", point).groups()
    whole = getattr(Store, name)
    done = 0

    async def step(self: Store, *args: object, **options: object) -> object:
        nonlocal done
        if after == "-" and args[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        found = await whole(self, *args, **options)
        if name == "pull":
            done += len(found)
        else:
            done += len(args[0]) if count else bool(found[0] if isinstance(found, tuple) else found)
        if done >= int(count or 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return [] if name == "pull" else found  # what is claimed is withheld until all of it is

    setattr(Store, name, step)


if __name__ == "__main__":
    log.configure()
    if point := os.environ.get("FAULTS_CRASH"):
        crash_at(point)
    if tries := os.environ.get("FAULTS_TRIES"):
        worker.BACK_OFF_S = (0.1,) * int(tries)
    if audience := os.environ.get("FAULTS_AUDIENCE"):
        from tests.audiences import FileAudiences

        EXTRAS = replace(EXTRAS, audiences=FileAudiences(Path(audience)))
    process.build = functools.partial(build, extras=EXTRAS)
    uvloop.run(process.serve(read_settings(Path(sys.argv[1])), sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # as `bot.__main__` does: while Python ends, a thread of pyreqwest's may abort the process
