"""The database of the ledger: SQLite by default, PostgreSQL by URL. Engines, and the gateway's words for their failures.

Nothing on the way of a message waits for it: journals wait in Redis until it is back.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchTableError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bot.errors import ConfigError, LedgerError, NotYetError

READER_WAITS_MS, WRITER_WAITS_MS = 5_000, 60_000  # the freezing of a large audience may take a while
CONNECT_S = 5.0
ANSWER_S = 60.0
POOL = 4
MAPPED = 2_147_418_112  # bytes of a file that SQLite reads as memory: the most that it takes
_MISSING = ("no such table", "no such column")
_UNDEFINED = ("42P01", "42703")  # PostgreSQL: undefined_table, undefined_column
_AWAY = (
    "08",
    "40",
    "53",
    "55",
    "57",
    "58",
)  # PostgreSQL's classes: connection, rollback, resources, locks, operator, system
SQLITE = "sqlite:"


def database_url(url: str, root: Path) -> URL:
    """What `[ledger] url` means; a path counts from `root`, the folder of the configuration. Raises ConfigError."""
    if url.startswith(SQLITE):
        path = root / url.removeprefix(SQLITE)
        return URL.create("sqlite+aiosqlite", database=str(path))
    try:
        found = make_url(url).set(drivername="postgresql+asyncpg")
    except (ArgumentError, ValueError):
        raise ConfigError(["ledger.url: is no address such as postgresql://name:password@host:5432/database"]) from None
    query = dict(found.query)
    if "sslmode" in query:  # libpq's name for it
        query["ssl"] = query.pop("sslmode")
    return found.set(query=query)


def shown(url: URL) -> str:
    """The address without its password, as people read it."""
    if url.get_backend_name() == "sqlite":
        return f"{SQLITE}{url.database}"
    host = url.host or url.query.get("host") or "this machine"
    return f"postgresql://{host}{f':{url.port}' if url.port else ''}/{url.database or ''}"


def open_engine(url: URL, *, writer: bool = False) -> AsyncEngine:
    """An engine; connects when first used. `writer`: its transactions take the write lock when they begin."""
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, writer=writer)
    return create_async_engine(
        url,
        pool_size=2 if writer else POOL,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        pool_pre_ping=True,
        hide_parameters=True,  # they are what buyers wrote: no error may quote them
        connect_args={"timeout": CONNECT_S, "command_timeout": ANSWER_S, "server_settings": {"jit": "off"}},
    )


def _sqlite(url: URL, *, writer: bool) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=1 if writer else POOL, max_overflow=0, pool_timeout=CONNECT_S, hide_parameters=True
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def make_file(_dialect: Any, _record: Any, _args: Any, _kwargs: Any) -> None:
        _private(Path(str(url.database)))

    @event.listens_for(engine.sync_engine, "connect")
    def settle(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: "begin" below does
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {WRITER_WAITS_MS if writer else READER_WAITS_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        # What the projector has committed must outlive a power cut: Redis is told so, and may throw it away.
        cursor.execute(f"PRAGMA synchronous = {'FULL' if writer else 'NORMAL'}")
        cursor.execute(f"PRAGMA cache_size = {-65_536 if writer else -16_384}")
        cursor.execute("PRAGMA temp_store = MEMORY")
        cursor.execute(f"PRAGMA mmap_size = {MAPPED}")
        cursor.execute("PRAGMA secure_delete = ON")  # what was erased must not lie on in the file
        cursor.close()
        # Its own lower() knows ASCII only.
        connection.create_function("fold", 1, lambda name: name.casefold(), deterministic=True)

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def _private(path: Path) -> None:
    """The file holds what buyers wrote: it is for its owner only."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


@contextmanager
def reaching(url: URL) -> Iterator[None]:
    """Turns the failures of drivers into LedgerError, in words that name the cure; other errors pass."""
    try:
        yield
    except DBAPIError as error:
        if _is_missing(error):
            raise NotYetError(
                f"ledger.url: {shown(url)} is not prepared yet; serve does that when it starts"
            ) from error
        raise LedgerError(f"ledger.url: {_words(url, error)}") from error
    except (TimeoutError, NoSuchTableError, PoolTimeoutError, OSError) as error:
        raise LedgerError(f"ledger.url: {shown(url)} does not answer; {_cure(url)}") from error
    except SQLAlchemyError as error:
        if type(error).__name__ == "MissingGreenlet":  # a bug of ours, not of the database
            raise
        raise LedgerError(f"ledger.url: {shown(url)}: {type(error).__name__}; {_cure(url)}") from error


def is_away(error: Exception) -> bool:
    """Whether a failure is the database's own state, as opposed to something that it does not take."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", "") or "")
        return error.connection_invalidated or isinstance(error, OperationalError) or state[:2] in _AWAY
    return isinstance(error, PoolTimeoutError | OSError | TimeoutError)


def _is_missing(error: DBAPIError) -> bool:
    """Whether a table or column is not there; PostgreSQL's words for it are in the language of its server."""
    return getattr(error.orig, "sqlstate", "") in _UNDEFINED or any(word in str(error.orig) for word in _MISSING)


def _words(url: URL, error: DBAPIError) -> str:
    cause = str(error.orig)
    name = type(error.orig).__name__
    if "locked" in cause:
        return f"{shown(url)} is locked by another program; end it, or wait"
    if "disk" in cause or "full" in cause:
        return f"{shown(url)}: its disk is full; free space on it"
    return f"{shown(url)} does not answer ({name}); {_cure(url)}"


def _cure(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return "the folder must exist and be writable, and the file a database"
    return "check host, name, password and that the server runs"


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection to read by, all of one moment. Raises LedgerError."""
    with reaching(engine.url):
        async with engine.connect() as connection:
            yield connection


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction: committed at the end, rolled back by any error. Raises LedgerError."""
    with reaching(engine.url):
        async with engine.begin() as connection:
            yield connection
