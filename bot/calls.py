"""How a turn calls its handlers: what they are given to read, and that their effects become the turn's. No I/O."""

from __future__ import annotations

from msgspec import structs

from bot.events import Event
from bot.handling import Facts, Turn
from bot.records import Address, Buyer, Record, Timer
from bot.routing import Registry
from bot.run import Run


class Calls:
    """Finds handlers by what triggers them, and runs them."""

    def __init__(self, *, facts: Facts, registry: Registry) -> None:
        self.facts = facts
        self._registry = registry

    def turn(self, run: Run, event: Event, record: Record, address: Address | None) -> Turn:
        """What a handler reads of this turn."""
        return Turn(event=event, record=record, now=run.now, facts=self.facts, address=address)

    def handler(self, run: Run, kind: str, name: str, turn: Turn, record: str = "buyer") -> bool:
        """Runs the handler of a trigger, if there is one."""
        run.turn = turn
        found = self._registry.find(kind, name, record)
        if found is None:
            return False
        run.handler, function = found
        run.entry.handler = run.handler.name
        run.effects.extend(function(turn))
        return True

    def handle(self, run: Run, buyer: Buyer, event: Event, kind: str, name: str, address: Address | None) -> None:
        """Runs the handler of a trigger for a buyer."""
        self.handler(run, kind, name, self.turn(run, event, buyer, address))

    def timer(self, run: Run, name: str, held: Timer, turn: Turn, record: str = "buyer") -> None:
        """Runs the handler of a timer with the data that it was set with; after a `:` its name holds an argument."""
        kind, _, arg = name.partition(":")
        self.handler(run, "timer", kind, structs.replace(turn, arg=arg, data=held.data), record)


def tag_of(body: object) -> str:
    """The name of an event's kind, as triggers spell it."""
    config = getattr(type(body), "__struct_config__", None)
    return str(config.tag) if config is not None else ""
