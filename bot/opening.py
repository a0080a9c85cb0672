"""Opens the store that the configuration names. Apart from the composition root, since commands and small processes need no more."""

from __future__ import annotations

from bot import keys
from bot.embedded import SCHEME, EmbeddedServer, directory_of
from bot.errors import ConfigError
from bot.redis_client import connect
from bot.settings import Settings
from bot.store import Store


def redis_url(settings: Settings) -> str:
    """The URL clients use; an embedded server is started or adopted first."""
    if not settings.redis.url.startswith(SCHEME):
        return settings.redis.url
    directory = directory_of(settings.redis.url, settings.root)
    return EmbeddedServer(directory, max_memory_mb=settings.redis.max_memory_mb).ensure()


async def open_store(settings: Settings, owner: str) -> Store:
    """The store, with the number of partitions that it was first started with. Raises ConfigError if that changed."""
    client = connect(redis_url(settings))
    store = Store(client, settings.redis.partitions, owner, replicas=settings.redis.replicas_to_wait_for)
    if not await store.command("HEXISTS", keys.META, "partitions"):  # a write is refused while memory is full
        await store.command("HSETNX", keys.META, "partitions", settings.redis.partitions)
    known = int(await store.command("HGET", keys.META, "partitions"))
    if known != settings.redis.partitions:
        await client.aclose()
        raise ConfigError(
            [f"redis.partitions = {settings.redis.partitions}: this data was laid out with {known}; set it to {known}"]
        )
    return store
