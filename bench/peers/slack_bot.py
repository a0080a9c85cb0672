import json
import os

import redis.asyncio as redis
from aiohttp import web
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

r = redis.Redis(port=int(os.environ["REDIS_PORT"]))
client = AsyncWebClient(token="xoxb-1", base_url=f"http://127.0.0.1:{os.environ['PROV_PORT']}/api/")
app = AsyncApp(token="xoxb-1", signing_secret="s3cret", client=client)


@app.message("")
async def echo(message, say):
    key = f"conv:{message['user']}"
    st = json.loads(await r.get(key) or '{"n": 0}')
    st["n"] += 1
    await r.set(key, json.dumps(st))
    await say(f"echo {st['n']}: {message['text']}")


web.run_app(
    app.server(port=0, path="/slack/events").web_app,
    host="127.0.0.1",
    port=int(os.environ["PORT"]),
    access_log=None,
    print=None,
)
