"""The gateway's counters. One registry per process; `/metrics` adds the processes up."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

WEBHOOKS = Counter("touchpoint_webhooks", "Webhooks by account and outcome", ["account", "outcome"], registry=REGISTRY)
EVENTS = Counter("touchpoint_events", "Events taken in, by account", ["account"], registry=REGISTRY)
IGNORED = Counter("touchpoint_ignored", "Verified events of no use", ["account", "kind"], registry=REGISTRY)
TURNS = Counter("touchpoint_turns", "Turns by outcome", ["outcome"], registry=REGISTRY)
TURN_SECONDS = Histogram("touchpoint_batch_seconds", "Time of a worker's batch", registry=REGISTRY)
SENDS = Counter("touchpoint_sends", "Provider calls by account and outcome", ["account", "outcome"], registry=REGISTRY)
SPENT = Counter("touchpoint_spent", "What accepted texts cost by prices", ["account", "currency"], registry=REGISTRY)
SPEND_ALERTS = Counter(
    "touchpoint_spend_alerts", "Shares of a spend limit reached", ["account", "window", "percent"], registry=REGISTRY
)
CODES = Counter("touchpoint_codes", "Phone codes by outcome, and proved ones", ["outcome"], registry=REGISTRY)
BURIED = Counter("touchpoint_buried", "Entries moved to the dead letters", registry=REGISTRY)
REDIS_TROUBLE = Counter("touchpoint_redis_trouble", "Store errors, by kind", ["kind"], registry=REGISTRY)
LOOP_LAG = Gauge("touchpoint_loop_lag_seconds", "How late the event loop runs", registry=REGISTRY)
OWNED = Gauge("touchpoint_partitions_owned", "Partitions that this process owns", registry=REGISTRY)


@cache
def child(counter: Counter, *labels: str) -> Counter:
    """A counter's child, looked up once: `.labels()` costs three times the counting itself."""
    return counter.labels(*labels)
