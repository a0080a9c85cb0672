"""Load generator and fake provider, in one uvloop process (one clock for both ends).

It plays the buyer's channel (sends webhooks over keep-alive connections) and the
provider's send API (accepts the bot's replies and answers fixed JSON).
A message carries a token `m<9 digits>`; the bot must echo it.  A message counts as
*processed* when its webhook was acknowledged with 2xx AND its reply arrived, either at
the fake provider or, for passive-reply channels, in the acknowledgement's body.

Raw asyncio protocols + httptools: about 10x cheaper per message than any peer measured.
"""

import asyncio
import collections
import re
import time

import httptools

TOKEN = re.compile(rb"m(\d{9})")
now = time.perf_counter


class Provider(asyncio.Protocol):
    """fake provider: any request -> fixed JSON; hands reply tokens to the run"""

    def __init__(self, hub):
        self.hub = hub

    def connection_made(self, t):
        self.t = t
        self.p = httptools.HttpRequestParser(self)
        self.url = b""
        self.body = []
        self.hub.conns += 1

    def on_url(self, u):
        self.url += u

    def on_body(self, b):
        self.body.append(b)

    def on_message_complete(self):
        hub = self.hub
        url, body = self.url, b"".join(self.body)
        self.url = b""
        self.body = []
        hub.calls += 1
        hub.paths[url.split(b"?")[0][:60]] += 1
        found = TOKEN.findall(body) or TOKEN.findall(url)
        for tok in found:
            hub.reply(int(tok))
        self.t.write(hub.answer(url, body))
        if not self.p.should_keep_alive():
            self.t.close()

    def data_received(self, d):
        try:
            self.p.feed_data(d)
        except Exception:
            self.hub.provider_errors += 1
            self.t.close()


def http_answer(js: bytes, status=b"200 OK"):
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(js), js)


class Conn(asyncio.Protocol):
    """one keep-alive client connection; one request at a time; reconnects as the server wishes"""

    def __init__(self, hub):
        self.hub = hub
        self.t = None
        self.busy = None
        self.closed = True
        self.waiter = None

    def connection_made(self, t):
        self.t = t
        self.closed = False
        self._new()

    def _new(self):
        self.p = httptools.HttpResponseParser(self)
        self.body = []

    def connection_lost(self, exc):
        self.closed = True
        if self.busy is not None:
            self._done(0, b"")

    def on_body(self, b):
        self.body.append(b)

    def on_message_complete(self):
        keep = self.p.should_keep_alive()
        status = self.p.get_status_code()
        body = b"".join(self.body)
        if status == 100:
            return
        self._new_pending = True
        if not keep:
            self.closed = True
            self.t.close()
        self._done(status, body)

    def data_received(self, d):
        self._new_pending = False
        try:
            self.p.feed_data(d)
        except Exception:
            self.hub.client_errors += 1
            self.closed = True
            self.t.close()
            if self.busy is not None:
                self._done(0, b"")
            return
        if self._new_pending:
            self._new()

    def _done(self, status, body):
        tok, self.busy = self.busy, None
        self.hub.acked(tok, status, body, self)

    def send(self, tok, data):
        self.busy = tok
        self.t.write(data)


class Hub:
    """one run: bookkeeping of tokens"""

    def __init__(self, peer, port):
        self.peer, self.port = peer, port
        self.sent = {}
        self.ack = {}
        self.rep = {}
        self.calls = self.conns = self.provider_errors = self.client_errors = self.bad = 0
        self.paths = collections.Counter()
        self.seq = 0
        self.users = 1000
        self.free = collections.deque()
        self.backlog = collections.deque()
        self.mode = None
        self.on_done = None
        self.late = 0
        self.dup = 0
        self.err_sample = None
        self.answer = peer.answer

    def message(self):
        self.seq += 1
        return self.seq, self.peer.webhook(f"u{self.seq % self.users:05d}", "m%09d" % self.seq, self.seq)

    # --- events
    def reply(self, tok):
        if tok not in self.sent:
            self.late += 1
            return
        if tok in self.rep:
            self.dup += 1
            return
        self.rep[tok] = now()
        if tok in self.ack:
            self._complete(tok)

    def acked(self, tok, status, body, conn):
        if 200 <= status < 300:
            self.ack[tok] = now()
            if self.peer.passive:
                if b"m%09d" % tok in body:
                    self.rep[tok] = now()
                else:
                    self.bad += 1
                    self.err_sample = body[:200]
            if tok in self.rep:
                self._complete(tok)
        else:
            self.bad += 1
            self.err_sample = (status, body[:300])
            self.ack[tok] = None
            self._complete(tok, ok=False)
        self.release(conn)

    def _complete(self, tok, ok=True):
        if self.on_done:
            self.on_done(tok, ok)

    def release(self, conn):
        if conn.closed:
            asyncio.get_running_loop().create_task(self.reopen())
            return
        if self.backlog:
            tok, data = self.backlog.popleft()
            conn.send(tok, data)
        else:
            self.free.append(conn)

    async def reopen(self, n=20):
        for i in range(n):
            try:
                _, c = await asyncio.get_running_loop().create_connection(lambda: Conn(self), "127.0.0.1", self.port)
                break
            except OSError:
                await asyncio.sleep(0.05)
        else:
            return
        self.release(c)

    def fire(self, sched=None):
        tok, data = self.message()
        self.sent[tok] = sched or now()
        while self.free:
            c = self.free.popleft()
            if c.closed:
                asyncio.get_running_loop().create_task(self.reopen())
                continue
            c.send(tok, data)
            return tok
        self.backlog.append((tok, data))
        return tok

    async def open(self, n):
        for _ in range(n):
            await self.reopen()

    # --- runs
    async def closed_loop(self, inflight, warm, dur):
        """keep `inflight` messages in process; returns processed/s over `dur` after `warm`"""
        await self.open(inflight)
        done = collections.deque()
        stop = False
        tries = 0

        def on_done(tok, ok):
            if ok:
                done.append(now())
            if not stop:
                if ok:
                    self.fire()
                else:
                    asyncio.get_running_loop().call_later(0.02, self.fire)

        self.on_done = on_done
        t0 = now()
        for _ in range(inflight):
            self.fire()
        await asyncio.sleep(warm)
        n0 = len(done)
        a = now()
        await asyncio.sleep(dur)
        n1 = len(done)
        b = now()
        stop = True
        e = now() + 3
        while now() < e and len(self.sent) > len(self.rep) + self.bad:
            await asyncio.sleep(0.02)
        return dict(rate=(n1 - n0) / (b - a), lost=len(self.sent) - len(self.rep), bad=self.bad)

    async def open_loop(self, rate, dur, conns=64):
        """constant-rate arrivals that never wait for the peer; latency from the instant the message is due to be written,
        waiting for a free connection included (no coordinated omission)"""
        await self.open(conns)
        self.on_done = None
        t0 = now() + 0.05
        n = int(rate * dur)
        i = 0
        while i < n:
            due = int((now() - t0) * rate)
            while i <= due and i < n:
                self.fire()
                i += 1
            await asyncio.sleep(0.001)
        e = now() + 4
        while now() < e and len(self.sent) > len(self.rep) + self.bad:
            await asyncio.sleep(0.02)
        skip = int(n * 0.15)
        toks = sorted(self.sent)[skip:]
        A = sorted((self.ack[t] - self.sent[t]) * 1e3 for t in toks if self.ack.get(t))
        Rp = sorted((self.rep[t] - self.sent[t]) * 1e3 for t in toks if t in self.rep)
        q = lambda L, p: L[min(len(L) - 1, int(len(L) * p))] if L else None
        return dict(
            offered=rate,
            ack50=q(A, 0.5),
            ack99=q(A, 0.99),
            rep50=q(Rp, 0.5),
            rep99=q(Rp, 0.99),
            lost=len(self.sent) - len(self.rep),
            bad=self.bad,
        )
