"""The JS-SDK: pages of ours, signed so that WeChat's app shows its own buttons on them.

The signature is SHA-1 over `jsapi_ticket=…&noncestr=…&timestamp=…&url=…`, the page's whole URL up to a `#`, unescaped, with WeChat's
published example as the vector. `jsApiList` must not be empty, or the open tags are not drawn. Open tags come with 1.6.0.
"""

from __future__ import annotations

import hashlib
import re
import secrets

from bot.ports import SignedPage
from channels.wechat.config import SDK

OPEN_TAGS = ("wx-open-subscribe",)
_APP = re.compile(r"\bMicroMessenger/")
_ELSEWHERE = re.compile(r"WindowsWechat|MacWechat|wxwork|Windows NT|Macintosh")
_FRAMES = "https://*.qq.com webcompt:"
"""What WeChat asks a page's policy to allow as frames: it draws the open tags in one."""


def is_inside(browser: str) -> bool:
    """Whether the browser is WeChat on a phone; its desktop apps and WeCom draw no open tags."""
    return bool(_APP.search(browser)) and not _ELSEWHERE.search(browser)


def signature(ticket: str, nonce: str, timestamp: int, url: str) -> str:
    """The provider's scheme, 40 hex digits."""
    text = f"jsapi_ticket={ticket}&noncestr={nonce}&timestamp={timestamp}&url={url.partition('#')[0]}"
    return hashlib.sha1(text.encode()).hexdigest()  # noqa: S324


def signed(script: str, app_id: str, ticket: str, url: str, timestamp: int) -> SignedPage:
    """What `wx.config` takes. Another script than WeChat's own may speak to the folder that it comes from."""
    nonce = secrets.token_hex(8)
    config = {
        "appId": app_id,
        "timestamp": timestamp,
        "nonceStr": nonce,
        "signature": signature(ticket, nonce, timestamp, url),
        "jsApiList": ["checkJsApi"],
        "openTagList": list(OPEN_TAGS),
    }
    sources = {"script-src": script, "frame-src": _FRAMES}
    if script != SDK:
        sources["connect-src"] = script.rpartition("/")[0] + "/"
    return SignedPage(script, config, sources)
