"""The gateway's own pages: health, readiness, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bot import keys
from bot.errors import StoreError

if TYPE_CHECKING:
    from bot.bootstrap import Gateway

TEXT = "text/plain; version=0.0.4; charset=utf-8"


def add_routes(app: web.Application, gateway: Gateway) -> None:
    """Mounts /healthz, /readyz and /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        partitions = gateway.store.partitions
        body = {"ready": False, "redis": False, "partitions_served": 0, "partitions": partitions}
        try:
            await gateway.store.command("SET", "ready:probe", gateway.clock.real())
            body["redis"] = True
            body["partitions_served"] = await gateway.queries.served()
        except StoreError:
            return web.json_response(body, status=503)
        body["ready"] = body["partitions_served"] == partitions and not gateway.door.shut_because
        return web.json_response(body, status=200 if body["ready"] else 503)

    async def metrics(_: web.Request) -> web.Response:
        stored = await gateway.store.command("HGETALL", keys.METRICS)
        alive = set(await gateway.store.command("ZRANGE", keys.PROCESSES, 0, -1))
        here = [text.decode() for name, text in stored.items() if name in alive]
        gone = [text.decode() for name, text in stored.items() if name not in alive]
        here += [(await gateway.queries.projection()).get("text", ""), _lag(await gateway.queries.unprojected())]
        return web.Response(body=add_up(here, gone).encode(), headers={"Content-Type": TEXT})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def _lag(ms: int) -> str:
    """Of the ledger, as the store shows it: it rises also while nobody projects."""
    registry = CollectorRegistry()
    about = "Age of the oldest journal entry that the ledger does not hold"
    Gauge("touchpoint_ledger_lag_seconds", about, registry=registry).set(ms / 1000)
    return generate_latest(registry).decode()


class _Sums:
    """Samples of several processes: what was counted adds up, of a delay the longest counts."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._values: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = {}

    def add(self, text: str, *, gone: bool) -> None:
        for family in text_string_to_metric_families(text):
            if family.name.endswith("_created") or (gone and family.type == "gauge"):
                continue
            known = Metric(family.name, family.documentation, family.type)
            self._families.setdefault(family.name, known)
            for sample in family.samples:
                key = (family.name, sample.name, tuple(sorted(sample.labels.items())))
                before = self._values.get(key, 0.0)
                longest = family.type == "gauge" and family.name.endswith("_seconds")
                self._values[key] = max(before, sample.value) if longest else before + sample.value

    def collect(self) -> list[Metric]:
        for (family, name, labels), value in self._values.items():
            self._families[family].add_sample(name, dict(labels), value)
        return [self._families[name] for name in sorted(self._families)]


def add_up(texts: Sequence[str], gone: Sequence[str] = ()) -> str:
    """The metrics of all processes as one, in the text format of Prometheus.

    Of processes that are gone what was counted still counts; what they measured does not.
    """
    sums = _Sums()
    for text in texts:
        sums.add(text, gone=False)
    for text in gone:
        sums.add(text, gone=True)
    return generate_latest(sums).decode()
