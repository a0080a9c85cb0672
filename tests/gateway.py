"""A whole gateway process in the test's event loop, against a real Valkey and provider stand-ins on loopback sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import time
from collections import Counter
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import aiohttp
from aiohttp import web

from bot import bootstrap, keys, process
from bot.settings import load
from ledger.projector import Projector
from tests.servers import Valkey

APP_SECRET = "app-secret-0123456789"
SHOP_KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
SOON_MS = 500
_serial = itertools.count(1)


WORK = """
local n = tonumber(ARGV[3])
for i = 1, n do
  local tag = ARGV[3 + i]
  for _, lane in ipairs({'inbox', 'bulk', 'mail'}) do
    if redis.call('XLEN', lane .. ':' .. tag) > 0 then return 1 end
  end
  if redis.call('HLEN', 'busy:' .. tag) > 0 or redis.call('ZCOUNT', 'timers:' .. tag, '-inf', ARGV[1]) > 0
    or redis.call('ZCOUNT', 'later:' .. tag, '-inf', ARGV[2]) > 0 then return 1 end
  for a = 4 + n, #ARGV do
    for _, lane in ipairs({'hi', 'lo'}) do
      if redis.call('EXISTS', 'ready:' .. tag .. ':' .. ARGV[a] .. ':' .. lane) > 0 then return 1 end
    end
  end
end
return 0
"""


class FakeGraph:
    """Takes Messenger's sends: keeps a ledger, answers as told."""

    def __init__(self) -> None:
        self.sent: list[dict] = []
        self.script: list[str] = []
        self.delay = 0.0
        self.headers: dict[str, str] = {}  # of every acceptance
        self.under_way: Counter[str] = Counter()  # calls that are not answered yet, by buyer
        self.most_at_once = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.content_type.startswith("multipart"):
            form = await request.post()
            body = {k: json.loads(v) if isinstance(v, str) and v.startswith("{") else "file" for k, v in form.items()}
        else:
            body = await request.json()
        fault = self.script.pop(0) if self.script else ""
        if fault == "500":
            return web.Response(status=500, text="<html>oops</html>")
        if fault == "429":
            return web.json_response(
                {"error": {"code": 613, "message": "slow down"}}, status=400, headers={"Retry-After": "1"}
            )
        if fault == "token":
            return web.json_response({"error": {"code": 190, "message": "expired"}}, status=401)
        if fault == "temporary":
            return web.json_response({"error": {"code": 2, "message": "try again"}}, status=400)
        if fault == "held":
            return web.json_response({"error": {"code": 10, "error_subcode": 2018300}}, status=400)
        if fault == "window":
            return web.json_response({"error": {"code": 10, "error_subcode": 2018278}}, status=400)
        psid = body["recipient"]["id"]
        self.under_way[psid] += 1
        self.most_at_once = max(self.most_at_once, self.under_way[psid])
        if self.delay:
            await asyncio.sleep(self.delay)
        self.under_way[psid] -= 1
        self.sent.append(body)
        if fault == "drop":
            request.transport.close()
            return web.Response()
        answer = {"recipient_id": body["recipient"]["id"], "message_id": f"m_p{next(_serial)}"}
        return web.json_response(answer, headers=self.headers)

    def texts(self, psid: str | None = None) -> list[str]:
        return [
            b["message"].get("text") or b["message"]["attachment"]["payload"].get("text", "[picture]")
            for b in self.sent
            if psid is None or b["recipient"]["id"] == psid
        ]


class Harness:
    """The running gateway and what a test does to it."""

    def __init__(self, gateway: bootstrap.Gateway, base: str, graph: FakeGraph, session: aiohttp.ClientSession) -> None:
        self.gateway, self.base, self.graph, self.session = gateway, base, graph, session

    # --- buyers on Messenger --------------------------------------------------------------------------------------

    async def post_messenger(self, *items: dict, secret: str = APP_SECRET, account: str = "messenger-main"):
        entry = {"id": "1234567890", "time": int(time.time() * 1000), "messaging": list(items)}
        body = json.dumps({"object": "page", "entry": [entry]}).encode()
        signature = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": signature, "Content-Type": "application/json"}
        async with self.session.post(f"{self.base}/channels/{account}/webhook", data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    def item(self, psid: str, *, mid: str = "", **body) -> dict:
        head = {"sender": {"id": psid}, "recipient": {"id": "1234567890"}, "timestamp": int(time.time() * 1000)}
        if "text" in body or "quick_reply" in body:
            return {**head, "message": {"mid": mid or f"m_in{next(_serial)}", **body}}
        return {**head, **body}

    async def say(self, psid: str, text: str, *, mid: str = "", payload: str = "") -> None:
        extra = {"quick_reply": {"payload": payload}} if payload else {}
        status, _ = await self.post_messenger(self.item(psid, mid=mid, text=text, **extra))
        assert status == 200

    async def said(self, psid: str, count: int, timeout: float = 20.0) -> list[str]:
        """What the buyer has been told, once it is at least `count` messages."""
        end = time.monotonic() + timeout
        while len(self.graph.texts(psid)) < count and time.monotonic() < end:
            await asyncio.sleep(0.01)
        found = self.graph.texts(psid)
        assert len(found) >= count, found
        return found

    # --- the shop -------------------------------------------------------------------------------------------------

    async def shop(self, kind: str, id: str, data: dict, *, at: float | None = None, key: str = SHOP_KEY, also=()):
        """Posts one event; `also` are (name, value) headers beside the usual ones."""
        when = time.time() if at is None else at
        envelope = {"type": kind, "id": id, "occurred_at": rfc(when), "data": data}
        body = json.dumps(envelope).encode()
        stamp = str(int(time.time()))
        signed = f"{id}.{stamp}.".encode() + body
        signature = "v1," + base64.b64encode(hmac.new(base64.b64decode(key), signed, hashlib.sha256).digest()).decode()
        headers = [
            ("webhook-id", id),
            ("webhook-timestamp", stamp),
            ("webhook-signature", signature),
            ("Content-Type", "application/json"),
            *also,
        ]
        async with self.session.post(f"{self.base}/shops/main/webhook", data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def idle(self, timeout: float = 20.0) -> None:
        """Until every lane is empty, nothing is being sent or waits to be, and no timer or retry is about to fire."""
        end = time.monotonic() + timeout
        quiet = 0
        while time.monotonic() < end:
            quiet = 0 if self._sending() or await self._stored_work() else quiet + 1
            if quiet == 2:  # one look may miss what a provider's answer turns into just then
                return
            await asyncio.sleep(0.02)
        raise AssertionError("the gateway did not become idle")

    def _sending(self) -> bool:
        """Whether this process has calls under way, or outcomes of them that are not written yet."""
        sender = self.gateway.sender
        return bool(sender._tasks or sender._claiming.held or sender._settling or sender._events)

    async def _stored_work(self) -> bool:
        """Whether the store holds work, at one instant: work moves in one step from each of these keys to another."""
        store, clock = self.gateway.store, self.gateway.clock
        times = (clock.now() + SOON_MS, clock.real() + SOON_MS)
        tags = [keys.tag(p) for p in range(store.partitions)]
        if not store.scripts.apart:
            return bool(await store.client.eval(WORK, 0, *times, len(tags), *tags, *self.gateway.lines))
        # On a cluster each partition is looked at for itself; what moves between two of them is in one of two looks.
        looks = [("EVAL", WORK, 1, keys.lease(p), *times, 1, tag, *self.gateway.lines) for p, tag in enumerate(tags)]
        return any([*await store.together(looks), *await store.together(looks[::-1])])

    async def waiting(self, account: str) -> None:
        """Until a message waits for an account that may send nothing now."""
        while not await self.gateway.store.ready_lanes([account]):
            await asyncio.sleep(0.01)

    async def projected(self, timeout: float = 10.0) -> None:
        """Until the ledger holds all that has happened. Only with `running(..., ledger=True)`."""
        queries, end = self.gateway.queries, time.monotonic() + timeout
        while await queries.unprojected():
            assert time.monotonic() < end, await queries.projection()
            await asyncio.sleep(0.02)

    async def advance(self, seconds: float) -> None:
        """Moves the virtual clock, and lets what is due by then happen."""
        await self.idle()
        self.gateway.clock.set_offset(self.gateway.clock.offset() + int(seconds * 1000))
        await self.idle()


def rfc(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


CONFIG = """
[brand]
name = "小满衣橱"
privacy_url = "https://shop.example/privacy"
[server]
port = {port}
processes = 1
{server}
[redis]
url = "{redis}"
lease_seconds = 2
[policy]
marketing_hours = "{marketing_hours}"
service_hours = "always"
service_per_day = 50
{policy}
[staff]
hours = "always"
[channels.messenger-main]
type = "messenger"
page_id = "1234567890"
app_id = "777"
app_secret = "{secret}"
verify_token = "verify-me"
page_access_token = "page-token"
api_base = "{graph}"
rate_per_second = 2000
[shops.main]
type = "standard"
secret = "whsec_{shop}"
{extra}
"""


@asynccontextmanager
async def projecting(gateway: bootstrap.Gateway):
    """What happens is copied to the ledger meanwhile, as a process of its own does for `serve`."""
    url, currency = gateway.history.engine.url, gateway.settings.brand.currency
    owner, terms = f"{gateway.store.owner}-ledger", gateway.settings.terms
    projector = Projector(gateway.store, url, owner, currency=currency, terms=terms)
    task = asyncio.create_task(projector.run())
    try:
        yield
    finally:
        projector.stop()
        await task


@asynccontextmanager
async def running(
    valkey: Valkey,
    tmp_path: Path,
    *,
    extra: str = "",
    owner: str = "test",
    marketing_hours: str = "always",
    policy: str = "",
    server: str = "",
    extras: bootstrap.Extras | None = None,
    ledger: bool = False,
):
    """A gateway that serves; torn down in order."""
    graph = FakeGraph()
    app = web.Application(client_max_size=8 * 1024 * 1024)
    app.router.add_route("*", "/{tail:.*}", graph.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    graph_url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    path = tmp_path / "config.toml"
    path.write_text(
        CONFIG.format(
            port=1,
            redis=valkey.url,
            secret=APP_SECRET,
            graph=graph_url,
            shop=SHOP_KEY,
            extra=extra,
            marketing_hours=marketing_hours,
            policy=policy,
            server=server,
        )
    )
    settings = load(path, bootstrap.channels.ALL, bootstrap.shops.ALL, env={})
    gateway = await bootstrap.build(settings, owner, extras)
    web_runner = web.AppRunner(gateway.app, access_log=None)
    await web_runner.setup()
    web_site = web.TCPSite(web_runner, "127.0.0.1", 0)
    await gateway.leases.renew()
    await web_site.start()
    base = f"http://127.0.0.1:{web_site._server.sockets[0].getsockname()[1]}"
    loops = process.start_loops(gateway)
    session = aiohttp.ClientSession()
    try:
        async with projecting(gateway) if ledger else nullcontext():
            yield Harness(gateway, base, graph, session)
    finally:
        await session.close()
        await process._drain(gateway, web_runner, loops)
        await runner.cleanup()
