"""`touchpoint members export`: every member, one row each, streamed; the same columns as the import takes."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from bot.clock import rfc3339
from bot.ids import show_member_number
from bot.member_import import COLUMNS
from bot.queries import Queries
from bot.records import Buyer
from bot.sheets import safe

MORE = ("other_phones", "buyer", "orders", "spent", "last_order_at")


async def write(queries: Queries, partitions: int, out: TextIO, progress: Callable[[int], None]) -> int:
    """Writes all members; answers how many. Flat in memory: a page of records at a time."""
    writer = csv.writer(out)
    writer.writerow([*COLUMNS, *MORE])
    count = 0
    for partition in range(partitions):
        async for found in queries.every_buyer(partition):
            rows = [row_of(buyer) for buyer in found if buyer.member is not None]
            writer.writerows(rows)
            count += len(rows)
        progress(1)
    return count


def row_of(buyer: Buyer) -> list[str]:
    """One member's cells; none of them can be run as a formula."""
    member = buyer.member
    assert member is not None
    phone = buyer.phones[0] if buyer.phones else ""
    answers = [a.consent for a in buyer.addresses if a.id == phone and not a.opted_out]
    consent = next((c for c in answers if c.marketing != "unknown"), None)
    refused = any(a.opted_out for a in buyer.addresses)
    cells = {
        "phone": phone,
        "name": buyer.name,
        "member_no": show_member_number(member.number),
        "level": member.level,
        "points": str(member.points),
        "joined_at": rfc3339(member.joined_at) if member.joined_at else "",
        "birthday": buyer.birthday,
        "gender": buyer.gender,
        "locale": buyer.locale,
        "size_top": buyer.sizes.get("top", ""),
        "size_bottom": buyer.sizes.get("bottom", ""),
        "size_shoe": buyer.sizes.get("shoe", ""),
        "tags": "|".join(buyer.tags),
        "marketing": "no" if refused else {"granted": "yes", "refused": "no"}[consent.marketing] if consent else "",
        "consent_at": rfc3339(consent.at) if consent and consent.at and not refused else "",
        "consent_wording": consent.wording if consent and not refused else "",
        "consent_source": consent.source.removeprefix("import:") if consent and not refused else "",
        "other_phones": "|".join(buyer.phones[1:]),
        "buyer": buyer.id,
        "orders": str(buyer.orders_count),
        "spent": "|".join(f"{amount} {currency}" for currency, amount in buyer.spent.items()),
        "last_order_at": rfc3339(buyer.last_order_at) if buyer.last_order_at else "",
    }
    return [safe(cells[name]) for name in (*COLUMNS, *MORE)]


def opened(path: Path, *, bom: bool) -> TextIO:
    """A file that only its owner may read: it holds numbers and names."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # one that was there already may have been open to others
    return os.fdopen(descriptor, "w", encoding="utf-8-sig" if bom else "utf-8", newline="")
