"""What an import says of a member: it fills gaps, and never speaks over the buyer. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bot import buyers, club
from bot.ports import Capabilities
from bot.records import Address, Buyer

SOURCE = "import:"


def take(buyer: Buyer, data: Mapping[str, Any], accounts: Mapping[str, Capabilities]) -> None:
    """Takes one member's row over. Level and points count where the card itself came by an import; else the gateway's stand."""
    buyers.add_phone(buyer, data["phone"], accounts)
    for name in ("name", "birthday", "gender", "locale"):
        if data.get(name) and not getattr(buyer, name):
            setattr(buyer, name, data[name])
    buyer.sizes = {**data.get("sizes", {}), **buyer.sizes}
    buyer.tags = list(dict.fromkeys([*buyer.tags, *data.get("tags", ())]))
    if buyer.member is not None and buyer.member.source.startswith(SOURCE):
        if level := data.get("level"):
            buyer.member.level = level
            buyer.member.granted = () if level == club.BASIC else (level,)
        buyer.member.points = data.get("points", buyer.member.points)
        buyer.member.joined_at = min(data.get("joined_at") or buyer.member.joined_at, buyer.member.joined_at)
    if consent := data.get("consent"):
        for address in buyer.addresses:
            known = accounts.get(address.account)
            if known is not None and known.address_is_phone and address.id == data["phone"]:
                _consent(address, consent)


def _consent(address: Address, said: Mapping[str, Any]) -> None:
    """An answer with its evidence, unless the buyer gave a later one here, or opted out."""
    if said["at"] <= address.consent.at or (said["verdict"] == "granted" and address.opted_out):
        return
    if said["verdict"] == "refused":
        buyers.refuse(address, said["at"], said["source"])
        return
    address.consent.marketing, address.consent.at = "granted", said["at"]
    address.consent.wording, address.consent.source = said["wording"], said["source"]
