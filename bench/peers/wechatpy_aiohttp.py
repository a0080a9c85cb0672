import asyncio
import json
import os

import aiohttp
import redis.asyncio as redis
import uvloop
from aiohttp import web
from wechatpy import create_reply, parse_message
from wechatpy.exceptions import InvalidSignatureException
from wechatpy.utils import check_signature

SEND = os.environ.get("MODE") == "send"
r = redis.Redis(port=int(os.environ["REDIS_PORT"]))
URL = f"http://127.0.0.1:{os.environ['PROV_PORT']}/cgi-bin/message/custom/send?access_token=AT"
jobs = set()


async def send(session, user, text):
    async with session.post(URL, json={"touser": user, "msgtype": "text", "text": {"content": text}}) as resp:
        await resp.json(content_type=None)


async def wechat(request):
    a = request.query
    try:
        check_signature("token123", a.get("signature"), a.get("timestamp"), a.get("nonce"))
    except InvalidSignatureException:
        raise web.HTTPForbidden()
    msg = parse_message(await request.read())
    key = f"conv:{msg.source}"
    st = json.loads(await r.get(key) or '{"n": 0}')
    st["n"] += 1
    await r.set(key, json.dumps(st))
    text = f"echo {st['n']}: {msg.content}"
    if SEND:
        t = asyncio.create_task(send(request.app["s"], msg.source, text))
        jobs.add(t)
        t.add_done_callback(jobs.discard)
        return web.Response(text="success")
    return web.Response(text=create_reply(text, msg).render(), content_type="text/xml")


async def up(app):
    app["s"] = aiohttp.ClientSession()


uvloop.install()
app = web.Application()
app.router.add_post("/wechat", wechat)
app.on_startup.append(up)
web.run_app(
    app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=None, print=None, loop=uvloop.new_event_loop()
)
