"""answers each request with the token it holds: the ceiling of the harness"""

import asyncio
import os
import re

import httptools
import uvloop

T = re.compile(rb"m\d{9}")


class P(asyncio.Protocol):
    def connection_made(self, t):
        self.t = t
        self.p = httptools.HttpRequestParser(self)
        self.b = b""

    def on_body(self, b):
        self.b += b

    def on_message_complete(self):
        tok = T.search(self.b).group(0)
        self.b = b""
        self.t.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + tok)

    def data_received(self, d):
        self.p.feed_data(d)


async def main():
    await asyncio.get_running_loop().create_server(P, "127.0.0.1", int(os.environ["PORT"]))
    await asyncio.Event().wait()


uvloop.run(main())
