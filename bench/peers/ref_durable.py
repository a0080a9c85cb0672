"""A durable pipeline, to see what the design allows on this machine.  Not a product.

webhook: verify -> [dedup + XADD, one Lua call per loop tick for all requests of the tick] -> 200
worker : XREADGROUP COUNT 100 -> MGET states -> async handlers -> one MULTI: SET states, XADD outbox, XACK+XDEL
sender : sends what EXEC accepted (outbox stream = crash log only), XDELs the sent ids in batches
FRONT=aiohttp|raw  SENDER=aiohttp|raw  REDIS=tick|redispy
"""

import asyncio
import collections
import hmac
import os

import orjson
import uvloop
from tick import Tick

FRONT, SENDER, REDIS = (
    os.environ.get("FRONT", "aiohttp"),
    os.environ.get("SENDER", "aiohttp"),
    os.environ.get("REDIS", "tick"),
)
PORT, PROV, RP = int(os.environ["PORT"]), int(os.environ["PROV_PORT"]), int(os.environ["REDIS_PORT"])
LUA = b"""local out={} for i=3,#ARGV,2 do
if redis.call('SET','d:'..ARGV[i],'1','NX','EX',ARGV[1]) then out[#out+1]=redis.call('XADD',KEYS[1],'*','b',ARGV[i+1]) else out[#out+1]=0 end end return out"""


async def connect(cls=Tick):
    _, c = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", RP)
    return c


class Ingress:
    async def start(self):
        self.loop = asyncio.get_running_loop()
        self.batch = []
        if REDIS == "tick":
            self.c = await connect()
            self.sha = await self.c.call(b"SCRIPT", b"LOAD", LUA)
        else:
            import redis.asyncio as redis

            self.r = redis.Redis(port=RP, max_connections=200)
            self.sha = await self.r.script_load(LUA)

    def put(self, mid, body):
        if REDIS != "tick":
            return self.r.evalsha(self.sha, 1, "in", 172800, "-", mid, body)
        if not self.batch:
            self.loop.call_soon(self.go)
        f = self.loop.create_future()
        self.batch.append((mid, body, f))
        return f

    def go(self):
        b, self.batch = self.batch, []
        a = [b"EVALSHA", self.sha, b"1", b"in", b"172800", b"-"]
        for m, body, _ in b:
            a += (m, body)

        def done(fut):
            r = fut.result()
            for (_, _, f), x in zip(b, r if isinstance(r, list) else [r] * len(b)):
                if not f.done():
                    if isinstance(x, Exception):
                        f.set_exception(x)
                    else:
                        f.set_result(x)

        self.c.call(*a).add_done_callback(done)


ingress = Ingress()


async def accept(body, sig):
    """-> HTTP status"""
    if not hmac.compare_digest(b"sha256=" + hmac.digest(b"s3cret", body, "sha256").hex().encode(), sig):
        return 403
    for e in orjson.loads(body)["entry"]:
        for m in e["messaging"]:
            await ingress.put(m["message"]["mid"].encode(), orjson.dumps(m))
    return 200


async def handler(state, m):
    state["n"] = state.get("n", 0) + 1
    return {"recipient": {"id": m["sender"]["id"]}, "message": {"text": f"echo {state['n']}: {m['message']['text']}"}}


# --- sending
sendq = collections.deque()
wake = asyncio.Event()


class Raw(asyncio.Protocol):
    def connection_made(self, t):
        self.t = t
        self.new()

    def new(self):
        import httptools

        self.p = httptools.HttpResponseParser(self)
        self.b = []
        self.ok = False

    def on_body(self, b):
        self.b.append(b)

    def on_message_complete(self):
        self.ok = True

    def data_received(self, d):
        self.p.feed_data(d)
        if self.ok:
            st = self.p.get_status_code()
            self.new()
            self.f.set_result(st)

    def post(self, b):
        self.f = asyncio.get_running_loop().create_future()
        self.t.write(
            b"POST /v16.0/me/messages?access_token=AT HTTP/1.1\r\nHost: graph.facebook.com\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(b), b)
        )
        return self.f


async def sender(n, c):
    loop = asyncio.get_running_loop()
    done = []

    def ack():
        if done:
            c.call(b"XDEL", b"out", *done)
            done.clear()

    if SENDER == "aiohttp":
        import aiohttp

        s = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=n), cookie_jar=aiohttp.DummyCookieJar())
        url = f"http://127.0.0.1:{PROV}/v16.0/me/messages?access_token=AT"

    async def w():
        if SENDER == "raw":
            conn = (await loop.create_connection(Raw, "127.0.0.1", PROV))[1]
        while True:
            while not sendq:
                wake.clear()
                await wake.wait()
            oid, b = sendq.popleft()
            if SENDER == "raw":
                st = await conn.post(b)
            else:
                async with s.post(url, data=b, headers={"Content-Type": "application/json"}) as r:
                    await r.read()
                    st = r.status
            if st == 200:
                if not done:
                    loop.call_later(0.005, ack)
                done.append(oid)

    await asyncio.gather(*[w() for _ in range(n)])


def pairs(L):
    return dict(zip(L[::2], L[1::2]))


async def worker():
    c = await connect()
    c2 = await connect()
    me = b"w%d" % os.getpid()
    await c.call(b"XGROUP", b"CREATE", b"in", b"g", b"0", b"MKSTREAM")
    asyncio.create_task(sender(32, c2))
    while True:
        r = await c.call(
            b"XREADGROUP", b"GROUP", b"g", me, b"COUNT", b"100", b"BLOCK", b"1000", b"STREAMS", b"in", b">"
        )
        if not r:
            continue
        if isinstance(r, Exception):  # the harness flushes Redis
            await c.call(b"XGROUP", b"CREATE", b"in", b"g", b"0", b"MKSTREAM")
            continue
        es = r[0][1]
        ms = [orjson.loads(e[1][1]) for e in es]
        keys = [b"conv:" + m["sender"]["id"].encode() for m in ms]
        sts = await c2.call(b"MGET", *keys)
        states = {}
        for k, s in zip(keys, sts):
            states.setdefault(k, orjson.loads(s) if s else {})
        outs = [
            orjson.dumps(o) for o in await asyncio.gather(*[handler(states[k], m) for k, m in zip(keys, ms)])
        ]  # same buyer: same dict, in order
        cmds = [(b"XADD", b"out", b"*", b"b", o) for o in outs] + [
            (b"SET", k, orjson.dumps(s), b"EX", b"604800") for k, s in states.items()
        ]
        ids = [e[0] for e in es]
        cmds += [(b"XACK", b"in", b"g", *ids), (b"XDEL", b"in", *ids)]
        res = await c2.multi(cmds)
        sendq.extend(zip(res, outs))
        wake.set()


OK, NO = (
    b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok" % s for s in (b"200 OK", b"403 Forbidden")
)


async def main():
    loop = asyncio.get_running_loop()
    await ingress.start()
    t = asyncio.create_task(worker())
    if FRONT == "aiohttp":
        from aiohttp import web

        async def hook(req):
            st = await accept(await req.read(), req.headers.get("X-Hub-Signature-256", "").encode())
            return web.Response(body=b"ok", status=st, content_type="text/plain")

        app = web.Application()
        app.router.add_post("/hook", hook)
        r = web.AppRunner(app, access_log=None)
        await r.setup()
        await web.TCPSite(r, "127.0.0.1", PORT).start()
    else:
        import httptools

        class P(asyncio.Protocol):
            def connection_made(self, t):
                self.t = t
                self.p = httptools.HttpRequestParser(self)
                self.b = []
                self.sig = b""

            def on_header(self, k, v):
                if len(k) == 19 and k.lower() == b"x-hub-signature-256":
                    self.sig = v

            def on_body(self, b):
                self.b.append(b)

            def on_message_complete(self):
                b = b"".join(self.b)
                self.b = []
                loop.create_task(self.go(b, self.sig))

            async def go(self, b, sig):
                self.t.write(OK if await accept(b, sig) == 200 else NO)

            def data_received(self, d):
                self.p.feed_data(d)

        await loop.create_server(P, "127.0.0.1", PORT)
    await t


uvloop.run(main())
