"""Who sent a request, as far as it tells: kept as evidence beside an answer about consent, and with it only."""

from __future__ import annotations

from ipaddress import ip_address

from aiohttp import web

from bot.proxies import proxies_of
from bot.proxies import sender_of as sent_from

LONGEST_BROWSER = 200


def is_public(sender: str) -> bool:
    """Whether this is a visitor's own address: a proxy in front speaks for all visitors, and is not held to one's share."""
    try:
        return ip_address(sender).is_global
    except ValueError:
        return False


def address_of(request: web.Request) -> str:
    """The visitor's IP address, "" where nobody knows it.

    Where the configuration names its proxies (`[server] trusted_proxies`), they are believed and nobody else. Else: who comes from a public address is believed by the connection alone. A proxy in front stands on a private one: of what it
    passes on the last public address counts, which is the one that it saw itself; those before it are the sender's own words.
    """
    if proxies_of(request).named:
        sender = sent_from(request)
        return sender if is_public(sender) else ""
    remote = request.remote or ""
    if is_public(remote):
        return str(ip_address(remote))
    told = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    seen = (one.strip().removeprefix("[").removesuffix("]") for one in reversed(told[-20:]))
    return next((str(ip_address(one)) for one in seen if is_public(one)), "")


def sender_of(request: web.Request) -> dict[str, str]:
    """Address and browser, for the event of an answer."""
    browser = request.headers.get("User-Agent", "")[:LONGEST_BROWSER]
    return {"ip": address_of(request), "browser": "".join(c for c in browser if c.isprintable())}
