"""Dead letters go back where they came from."""

from __future__ import annotations

from bot import keys
from bot.errors import GatewayError
from bot.store import Store


async def replay(store: Store, id: str) -> str:
    """Puts a buried event (`<partition>/<entry>`) back into its lane. Raises GatewayError for what cannot go back."""
    partition_text, _, entry = id.partition("/")
    if not partition_text.isdigit() or int(partition_text) >= store.partitions or not entry:
        raise GatewayError(f"{id!r} is no dead letter id; they look like 12/1790000000000-0")
    partition = int(partition_text)
    found = await store.command("XRANGE", keys.dead(partition), entry, entry)
    if not found:
        raise GatewayError(f"there is no dead letter {id}")
    fields = found[0][1]
    if fields.get(b"k") != b"event":
        raise GatewayError("this one is a webhook that could not be read: replaying it would not change that")
    kept = [part for name in (b"s", b"d", b"b", b"t", b"u") if name in fields for part in (name, fields[name])]
    lane = keys.bulk(partition) if b"t" in fields else keys.inbox(partition)
    await store.command("XADD", lane, "*", *kept)
    await store.command("XDEL", keys.dead(partition), entry)
    return f"{id} is back in its lane"
