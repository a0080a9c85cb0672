"""`touchpoint coupons import`: own codes of campaigns from a file, checked whole before the first one is taken.

One code per line, or a table with a column `code` and perhaps `campaign`, in any form that `bot.sheets` reads. Every fault is named by its line; with one fault
nothing is imported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bot import sheets
from bot.coupons import ALPHABET, Campaign, Coupons
from bot.errors import GatewayError
from bot.sheets import NoColumnsError, SheetError

COLUMNS: sheets.Columns = {
    "code": ("coupon", "coupon code", "券码", "优惠券码", "兑换码", "券碼", "折價券碼"),
    "campaign": ("campaign key", "活动", "活动编号", "活動", "活動編號"),
}
CODE = re.compile(f"[{ALPHABET}]{{12}}")
MOST_CODES = 200_000
TOGETHER = 500
MOST_FAULTS_SHOWN = 50


class ImportFaultError(GatewayError):
    """What is wrong with the file, line by line."""

    def __init__(self, faults: Sequence[str]) -> None:
        more = len(faults) - MOST_FAULTS_SHOWN
        super().__init__("\n".join([*faults[:MOST_FAULTS_SHOWN], *([f"and {more} more"] if more > 0 else [])]))


@dataclass(slots=True)
class CodeList:
    """The codes of a file by campaign, each with its line."""

    codes: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, line: int, code: str, campaign: str) -> None:
        """One code, or its fault."""
        before = next((lines[code] for lines in self.codes.values() if code in lines), 0)
        if not CODE.fullmatch(code):
            self.faults.append(f"line {line}: {code[:40]!r} must be 12 of A to Z and 2 to 9, without I and O")
        elif not campaign:
            self.faults.append(f"line {line}: names no campaign; give --campaign KEY, or a column `campaign`")
        elif before:
            self.faults.append(f"line {line}: {code} stands on line {before} already")
        else:
            self.codes.setdefault(campaign, {})[code] = line


def read(path: Path, campaign: str) -> CodeList:
    """The file's codes. Raises ImportFaultError naming every line at fault."""
    found = CodeList()
    try:
        for line, code, key in _lines(path):
            found.add(line, code, key or campaign)
    except SheetError as error:
        raise ImportFaultError([str(error)]) from error
    count = sum(len(codes) for codes in found.codes.values())
    if not count and not found.faults:
        found.faults.append(f"{path}: holds no codes")
    if count > MOST_CODES:
        found.faults.append(f"{path}: holds {count} codes; at most {MOST_CODES} go in one file")
    if found.faults:
        raise ImportFaultError(found.faults)
    return found


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, code and campaign of each row: a table with a column of codes, else a code on each line."""
    try:
        sheet = sheets.read(path, COLUMNS, needs=[("code",)])
    except NoColumnsError:
        for line, text in enumerate(sheets.text_of(path).splitlines(), 1):
            if text.strip():
                yield line, text.strip(), ""
        return
    if sheet.rejected:
        raise SheetError("\n".join(sheets.told_faults(sheet)))
    for row in sheet.rows:
        yield row.line, row["code"], row["campaign"]


async def take(coupons: Coupons, found: CodeList, progress: Callable[[int], None]) -> dict[str, int]:
    """Adds the codes to their campaigns; answers how many each got. Raises ImportFaultError, and nothing is imported."""
    faults: list[str] = []
    for key, lines in found.codes.items():
        faults += await _faults(coupons, key, lines, progress)
    if faults:
        raise ImportFaultError(faults)
    for key, lines in found.codes.items():
        codes = list(lines)
        await coupons.change(key, lambda campaign, codes=codes: _stock_up(campaign, len(codes)), codes)  # type: ignore[misc]
    return {key: len(lines) for key, lines in found.codes.items()}


async def _faults(coupons: Coupons, key: str, lines: Mapping[str, int], progress: Callable[[int], None]) -> list[str]:
    campaign = await coupons.get(key)
    if campaign is None:
        return [f"line {min(lines.values())}: there is no campaign {key}; make it first (POST /api/v1/campaigns)"]
    about, counts = campaign
    if not about.own_codes and counts.claimed:
        return [
            f"campaign {key} makes its codes itself and {counts.claimed} are claimed: take a new campaign for own codes"
        ]
    codes, faults = list(lines), list[str]()
    pool = await coupons.pool(key)
    for start in range(0, len(codes), TOGETHER):
        part = codes[start : start + TOGETHER]
        for code, owner in (await coupons.owners(part)).items():
            if code in pool:
                faults.append(f"line {lines[code]}: {code} is in the campaign already")
            elif owner != key:
                faults.append(f"line {lines[code]}: {code} belongs to the campaign {owner}")
        progress(len(part))
    return faults


def _stock_up(campaign: Campaign, count: int) -> None:
    campaign.stock = campaign.stock + count if campaign.own_codes else count
