"""How the simulated WeChat's API speaks: an errcode inside a 200, objects in."""

from __future__ import annotations

import json
import secrets
from typing import Any

from aiohttp import web

from sandbox.providers.wechat_limits import REFUSED

REFUSED_CALL = "invalid credential, access_token is invalid or not latest"


def refused(code: int, message: str = "") -> web.Response:
    """An error, with the request id that WeChat's support asks for."""
    rid = "-".join(secrets.token_hex(4) for _ in range(3))
    return web.json_response({"errcode": code, "errmsg": f"{message or REFUSED.get(code, 'error')} rid: {rid}"})


def object_of(raw: bytes) -> dict[str, Any]:
    """The JSON object of a body, {} for anything else."""
    try:
        value = json.loads(raw)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def leaves(name: str, openid: str) -> str:
    """The key of a hash: how many notices of each template a buyer allowed and has not been sent."""
    return f"sandbox:wxleave:{name}:{openid}"
