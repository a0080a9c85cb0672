"""Health, readiness and metrics, as a load balancer and Prometheus see them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from bot import keys
from bot.leases import Leases
from bot.web import add_up
from tests.gateway import running
from tests.servers import Valkey


def one(count: float, lag: float, owned: float, label: str = "a") -> str:
    registry = CollectorRegistry()
    Counter("turns", "Turns", ["account"], registry=registry).labels(label).inc(count)
    Gauge("lag_seconds", "Lag", registry=registry).set(lag)
    Gauge("owned", "Owned", registry=registry).set(owned)
    Histogram("took_seconds", "Took", registry=registry).observe(0.3)
    return generate_latest(registry).decode()


def values(text: str) -> dict[tuple[str, tuple], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_counts_add_up_exactly_and_delays_do_not() -> None:
    """Large counts keep every digit; of delays the longest counts; gauges of the gone are dropped, their counts kept."""
    text = add_up([one(12_345_678, 0.1, 30), one(1, 0.4, 34)], [one(5, 9, 64)])
    found = values(text)
    assert found["turns_total", (("account", "a"),)] == 12_345_684
    assert found["lag_seconds", ()] == 0.4
    assert found["owned", ()] == 64
    assert found["took_seconds_count", ()] == 3
    assert found["took_seconds_bucket", (("le", "+Inf"),)] == 3
    assert "# TYPE turns_total counter" in text
    assert "_created" not in text
    assert values(add_up([text])) == found


def test_labels_survive() -> None:
    """Quotes, backslashes and line breaks in a label."""
    label = 'a"b\\c\nd'
    assert values(add_up([one(1, 0, 0, label)]))["turns_total", (("account", label),)] == 1


async def test_health_with_and_without_redis(tmp_path) -> None:
    """/readyz is exact; without Redis it is a quick 503, /healthz stays 200, /metrics and the API answer problems."""
    valkey = Valkey().start()
    try:
        async with running(valkey, tmp_path) as gw:

            async def get(path: str):
                async with gw.session.get(gw.base + path) as answer:
                    return answer.status, answer.headers["Content-Type"], await answer.read()

            async with gw.session.get(gw.base + "/readyz") as answer:
                assert answer.status == 200
                assert await answer.json() == {"ready": True, "redis": True, "partitions_served": 64, "partitions": 64}
            status, kind, text = await get("/metrics")
            assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
            assert all(isinstance(value, float) for value in values(text.decode()).values())
            valkey.kill()
            assert (await get("/healthz"))[0] == 200
            async with gw.session.get(gw.base + "/readyz") as answer:
                assert answer.status == 503
                assert await answer.json() == {"ready": False, "redis": False, "partitions_served": 0, "partitions": 64}
            status, kind, _ = await get("/metrics")
            assert (status, kind) == (503, "application/problem+json")
            headers = {"Authorization": "Bearer x"}
            async with gw.session.get(gw.base + "/api/v1/campaigns", headers=headers) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            valkey.start()
    finally:
        valkey.stop()


async def test_a_partition_without_an_owner_is_not_ready(valkey, redis_client, tmp_path, monkeypatch) -> None:
    """Its buyers would wait: 503 until somebody has it; messages go on to be taken in meanwhile."""

    async def nobody(_: Leases) -> None:
        """As on machines that are too few."""

    async with running(valkey, tmp_path) as gw:
        monkeypatch.setattr(Leases, "renew", nobody)
        await redis_client.hset(keys.lease(5), "u", 0)
        async with gw.session.get(gw.base + "/readyz") as answer:
            found = await answer.json()
            assert (answer.status, found["ready"], found["redis"]) == (503, False, True)
            assert found["partitions_served"] < 64
        assert (await gw.post_messenger(gw.item("p1", text="你好")))[0] == 200
        monkeypatch.undo()
