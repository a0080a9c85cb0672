"""The gateway's own pages: health, readiness, metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from bot import keys
from bot.errors import StoreError

if TYPE_CHECKING:
    from bot.bootstrap import Gateway


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
        return web.Response(text=add_up(here, gone), content_type="text/plain")

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)


def add_up(texts: Sequence[str], gone: Sequence[str] = ()) -> str:
    """The metrics of all processes as one: samples with the same name and labels are summed.

    Of processes that are gone what was counted still counts; what they measured does not.
    """
    heads: dict[str, tuple[str, str]] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for position, text in enumerate((*texts, *gone)):
        for family in text_string_to_metric_families(text):
            if position >= len(texts) and family.type == "gauge":
                continue
            heads[family.name] = (family.documentation, family.type)
            rows = sums.setdefault(family.name, {})
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                key = (sample.name, tuple(sorted(sample.labels.items())))
                rows[key] = rows.get(key, 0.0) + sample.value
    lines = []
    for name, (help_text, kind) in sorted(heads.items()):
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
        for (sample_name, labels), value in sums[name].items():
            inner = ",".join(f'{k}="{v}"' for k, v in labels)
            lines.append(f"{sample_name}{{{inner}}} {value:g}" if inner else f"{sample_name} {value:g}")
    return "\n".join(lines) + "\n"
