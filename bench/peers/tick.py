"""hiredis + raw asyncio connection: every call() made in one loop tick leaves in one write"""

import asyncio
import collections

import hiredis

pack = hiredis.pack_command


class Tick(asyncio.Protocol):
    def __init__(self):
        self.out = []
        self.wait = collections.deque()
        self.sched = False

    def connection_made(self, t):
        self.t = t
        self.loop = asyncio.get_running_loop()
        self.r = hiredis.Reader()

    def data_received(self, d):
        self.r.feed(d)
        g = self.r.gets
        w = self.wait
        while (x := g()) is not False:
            f = w.popleft()
            if f is not None and not f.cancelled():
                f.set_result(x)

    def call(self, *args):
        f = self.loop.create_future()
        self.send(args, f)
        return f

    def send(self, args, f=None):
        self.out.append(pack(args))
        self.wait.append(f)
        if not self.sched:
            self.sched = True
            self.loop.call_soon(self.flush)

    def multi(self, cmds):
        """MULTI .. EXEC in one write; only EXEC's answer is waited for"""
        f = self.loop.create_future()
        self.send((b"MULTI",))
        for c in cmds:
            self.send(c)
        self.send((b"EXEC",), f)
        return f

    def flush(self):
        self.sched = False
        self.t.write(b"".join(self.out))
        self.out.clear()


async def connect(port):
    _, c = await asyncio.get_running_loop().create_connection(Tick, "127.0.0.1", port)
    return c
