"""Who sent a request, where proxies stand in front: their word counts, if the configuration trusts them, and nobody else's.

`[server] trusted_proxies` names them. Each appends whom it saw to `X-Forwarded-For`; read from its end, the first address that is
no trusted proxy is the sender. What stands before that is the sender's own words. `Forwarded` and `X-Real-IP` are not read:
a proxy that writes one header passes the others through as they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

PASSED_ON = "X-Forwarded-For"
MOST_HOPS = 20
LEAST_PUBLIC = {4: 8, 6: 16}
"""A public network with fewer fixed bits is no list of proxies: it would believe half the world."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Proxies:
    """Those whose word counts. `named`: whether the configuration names any."""

    networks: tuple[Network, ...] = ()

    @property
    def named(self) -> bool:
        """Whether there are any."""
        return bool(self.networks)

    def trusts(self, sender: str) -> bool:
        """Whether an address is one of them."""
        found = read(sender)
        return found is not None and self._has(found)

    def sender(self, remote: str, told: Sequence[str]) -> str:
        """Whose request it is: `remote` of the connection, or whom trusted proxies name in `told`, the values of X-Forwarded-For.

        "" where a trusted proxy names somebody whose address cannot be read.
        """
        seen = read(remote)
        if seen is None:
            return remote
        hops = [hop for value in told for hop in value.split(",") if hop.strip()]
        for hop in reversed(hops[-MOST_HOPS:]):
            if not self._has(seen):
                break
            if (seen := read(hop.strip())) is None:
                return ""
        return str(seen)

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


NOBODY = Proxies()
PROXIES = web.AppKey("proxies", Proxies)


def proxies_of(request: web.Request) -> Proxies:
    """Those that the gateway of this request trusts."""
    try:
        return request.app[PROXIES]
    except KeyError:
        return NOBODY


def sender_of(request: web.Request) -> str:
    """The address that a request comes from, "" where nobody knows it: for limits, allow lists and evidence."""
    return proxies_of(request).sender(request.remote or "", request.headers.getall(PASSED_ON, ()))


def read(text: str) -> Address | None:
    """An address as headers write it: IPv4 or IPv6, in brackets or not, with a port or without; None for anything else."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def network(text: object) -> Network:
    """A network of the configuration. Raises ValueError that says what would be right."""
    if not isinstance(text, str):
        raise ValueError('must be a text, such as "10.0.0.0/8" or "127.0.0.1"')  # noqa: TRY004  # pydantic's own way
    try:
        found = ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            'must be an address or a network of your proxies, such as "127.0.0.1" or "10.0.0.0/8"'
        ) from None
    if ip_address(text.strip().partition("/")[0]) != found.network_address:
        raise ValueError(f"has bits set behind its /{found.prefixlen}; write {found}, or the address alone")
    if not found.is_private and found.prefixlen < LEAST_PUBLIC[found.version]:
        raise ValueError("takes in half the internet, whose word about the sender would be believed; name your proxies")
    return found
