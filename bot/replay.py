"""Dead letters go back where they came from."""

from __future__ import annotations

import re

from bot import keys
from bot.errors import GatewayError
from bot.store import Store

_ID = re.compile(r"(\d{1,3})/(\d{1,15}-\d{1,15})", re.ASCII)


async def replay(store: Store, id: str) -> str:
    """Puts a buried event (`<partition>/<entry>`) back into its lane. Raises GatewayError for what cannot go back."""
    known = _ID.fullmatch(id)
    if known is None or int(known[1]) >= store.partitions:
        raise GatewayError(f"{id!r} is no dead letter id; they look like 12/1790000000000-0")
    partition, entry = int(known[1]), known[2]
    found = await store.command("XRANGE", keys.dead(partition), entry, entry)
    if not found:
        raise GatewayError(f"there is no dead letter {id}")
    fields = found[0][1]
    if fields.get(b"k") != b"event":
        raise GatewayError("this one is a webhook that could not be read: replaying it would not change that")
    broadcast = fields.get(b"c", b"").decode()
    kept = [part for name in (b"s", b"d", b"b", b"t", b"u", b"c") if name in fields for part in (name, fields[name])]
    lane = keys.bulk(partition) if b"t" in fields or broadcast else keys.inbox(partition)
    names = [keys.dead(partition), lane, keys.broadcast(partition, broadcast) if broadcast else lane]
    if not await store.scripts.run("replay", names, [entry, "1" if broadcast else "", *kept]):
        raise GatewayError(f"there is no dead letter {id}")  # somebody else was faster
    return f"{id} is back in its lane"
