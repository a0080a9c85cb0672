"""`touchpoint members import`: members of another system from a CSV file.

Who is imported without proof of consent gets service notices only: a yes needs when it was given, to which words, and where.
One number is one member: rows of one number are one, and a buyer who is there already keeps what they said themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from pathlib import Path
from typing import Any

from bot import ids, sheets, subjects
from bot.events import Event, Ms, StaffAsked
from bot.imported import SOURCE
from bot.locales import negotiate
from bot.phones import takes_texts
from bot.records import Buyer, Link
from bot.sheets import Row, Sheet, unsafe
from bot.store import Store

TOGETHER = 500
ADULT = 14
COLUMNS: sheets.Columns = {
    "phone": (
        "mobile",
        "phone number",
        "mobile number",
        "手机号",
        "手机号码",
        "手機號碼",
        "手机",
        "手機",
        "电话",
        "電話",
        "联系电话",
    ),
    "name": ("姓名", "称呼", "稱呼", "会员姓名", "會員姓名", "昵称"),
    "member_no": ("member number", "card number", "card", "卡号", "卡號", "会员号", "会员卡号", "會員編號", "會員卡號"),
    "level": ("tier", "等级", "等級", "会员等级", "會員等級"),
    "points": ("积分", "積分", "点数", "點數"),
    "joined_at": ("joined", "member since", "入会时间", "入會時間", "入会日期", "开卡时间", "注册时间", "註冊時間"),
    "birthday": ("birth date", "date of birth", "生日", "出生日期"),
    "gender": ("sex", "性别", "性別"),
    "locale": ("language", "语言", "語言"),
    "size_top": ("top size", "上装尺码", "上衣尺码", "上衣尺寸"),
    "size_bottom": ("bottom size", "下装尺码", "裤子尺码", "褲子尺寸"),
    "size_shoe": ("shoe size", "鞋码", "鞋碼"),
    "tags": ("标签", "標籤"),
    "marketing": ("marketing consent", "consent", "营销同意", "同意营销", "行銷同意", "是否同意营销"),
    "consent_at": ("consent time", "同意时间", "同意時間", "同意日期"),
    "consent_wording": ("consent text", "同意文案", "同意内容", "同意內容", "同意条款"),
    "consent_source": ("consent channel", "同意来源", "同意來源", "同意渠道"),
}
YES = frozenset(("yes", "y", "true", "1", "granted", "是", "同意", "已同意"))
NO = frozenset(("no", "n", "false", "0", "refused", "否", "不同意", "拒绝", "拒絕", "退订"))
GENDERS = {
    "female": "female",
    "f": "female",
    "女": "female",
    "male": "male",
    "m": "male",
    "男": "male",
    "unsaid": "unsaid",
    "保密": "unsaid",
}
_SCIENTIFIC = re.compile(r"\d(\.\d+)?e\+?\d+", re.IGNORECASE)
_DATE = re.compile(r"(?:(\d{4})[-/.年])?(\d{1,2})[-/.月](\d{1,2})日?(?:[ T].*)?", re.ASCII)


@dataclass(slots=True)
class MemberList:
    """The members of a file by number, each with the line that began it; `notes` are told but keep no row aside."""

    sheet: Sheet
    members: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)  # card number -> phone
    joined: int = 0  # rows that said more of a number of an earlier row
    unproved: int = 0  # yes without evidence
    renumbered: int = 0  # card numbers that cannot be kept
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Done:
    """What an import does."""

    new: int = 0
    known: int = 0
    cards: int = 0  # of the known ones, those who had a card


def read(path: Path, parse_phone: Callable[[str], str], zone: tzinfo, now: Ms) -> MemberList:
    """The file's members; rows at fault are in `sheet.rejected`. Raises SheetError for a file that is no such table."""
    sheet = sheets.read(path, COLUMNS, needs=[("phone",)])
    found = MemberList(sheet)
    for row in sheet.rows:
        cells = Row(row.line, {name: unsafe(cell) for name, cell in row.cells.items()}, row.raw)
        try:
            _take(found, cells, _phone(cells["phone"], parse_phone), zone, now)
        except ValueError as fault:
            sheet.reject(row, str(fault))
    return found


def _take(found: MemberList, row: Row, phone: str, zone: tzinfo, now: Ms) -> None:
    said = _facts(row, zone, now)
    said |= {"phone": phone, "consent": _consent(found, row, zone, now), "number": _number(found, row, phone)}
    if (before := found.members.get(phone)) is None:
        found.members[phone], found.lines[phone] = said, row.line
    else:
        found.members[phone] = _joined(before, said)
        found.joined += 1
        found.notes.append(f"line {row.line}: the same number as on line {found.lines[phone]}; joined to it")
    if number := found.members[phone]["number"]:
        found.numbers[number] = phone


def _joined(first: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Two rows of one number: the first says more than the second, but the more points and the earlier day count, and a no."""
    both = {**more, **{name: value for name, value in first.items() if value}}
    both["points"] = max(first.get("points", 0), more.get("points", 0))
    both["joined_at"] = min(filter(None, (first["joined_at"], more["joined_at"])), default=0)
    both["tags"] = list(dict.fromkeys([*first["tags"], *more["tags"]]))
    both["sizes"] = {**more["sizes"], **first["sizes"]}
    answers = [one["consent"] for one in (first, more) if one["consent"]]
    both["consent"] = next((one for one in answers if one["verdict"] == "refused"), answers[0] if answers else None)
    return both


# --- cells ------------------------------------------------------------------------------------------------------------


def _phone(text: str, parse_phone: Callable[[str], str]) -> str:
    if not text:
        raise ValueError("phone is missing")
    if _SCIENTIFIC.fullmatch(text):
        raise ValueError("phone was cut by the spreadsheet (1.39E+10): format the column as text and save it again")
    phone = parse_phone(text.removeprefix("'").removesuffix(".0"))
    if not phone or not takes_texts(phone):
        raise ValueError("phone is not a mobile number of the shop's country, or lacks its country code")
    return phone


def _facts(row: Row, zone: tzinfo, now: Ms) -> dict[str, Any]:
    if len(row["name"]) > 60 or len(row["level"]) > 30:
        raise ValueError("name takes 60 characters at most, level 30")
    points = row["points"].replace(",", "").removesuffix(".0").removesuffix(".00")
    if points and not re.fullmatch(r"[0-9]{1,9}", points, re.ASCII):
        raise ValueError(f"points {row['points'][:20]!r} must be a whole number")
    gender = GENDERS.get(row["gender"].casefold(), "")
    if row["gender"] and not gender:
        raise ValueError(f"gender {row['gender'][:20]!r} must be female, male or unsaid")
    locale = negotiate(row["locale"])
    if row["locale"] and not locale:
        raise ValueError(f"locale {row['locale'][:20]!r} must be zh-CN, zh-TW or en")
    joined_at = _time(row, "joined_at", zone)
    if joined_at > now:
        raise ValueError("joined_at is in the future")
    sizes = {name.removeprefix("size_"): row[name] for name in ("size_top", "size_bottom", "size_shoe") if row[name]}
    if any(len(size) > 10 for size in sizes.values()):
        raise ValueError("a size takes 10 characters at most")
    return {
        "name": row["name"],
        "level": row["level"],
        "points": int(points or 0),
        "gender": gender,
        "locale": locale,
        "joined_at": joined_at,
        "birthday": _birthday(row["birthday"], now, zone),
        "sizes": sizes,
        "tags": list(dict.fromkeys(t.strip() for t in re.split(r"[|;,、，；]", row["tags"]) if t.strip()))[:50],
    }


def _birthday(text: str, now: Ms, zone: tzinfo) -> str:
    """`1990-01-02` or `01-02`; nothing of a child under 14 is taken."""
    if not text:
        return ""
    found = _DATE.fullmatch(text) or re.fullmatch(r"(\d{4})(\d{2})(\d{2})", text)
    try:
        year, month, day = found.groups() if found else (None, "0", "0")
        when = date(int(year or 2000), int(month), int(day))
    except ValueError:
        raise ValueError(f"birthday {text[:20]!r} must be a date such as 1990-01-02 or 01-02") from None
    if year is None:
        return f"{when:%m-%d}"
    today = datetime.fromtimestamp(now / 1000, zone).date()
    if not when.year >= 1900 or when > today:
        raise ValueError(f"birthday {text[:20]!r} cannot be")
    if (today.year - when.year, (today.month, today.day)) < (ADULT, (when.month, when.day)):
        raise ValueError(f"is under {ADULT}: no card without a parent's consent")
    return f"{when:%Y-%m-%d}"


def _time(row: Row, name: str, zone: tzinfo) -> Ms:
    text = row[name].replace("/", "-").replace("年", "-").replace("月", "-").replace("日", "")
    if not text:
        return 0
    padded = re.sub(r"(?<![\d.])(\d)(?![\d.])", r"0\1", text)  # 2026-5-1 8:00
    try:
        when = datetime.fromisoformat(padded)
        aware = when if when.tzinfo else when.replace(tzinfo=zone)
        return int(aware.astimezone(UTC).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{name} {row[name][:30]!r} must be a time such as 2026-10-01 or 2026-10-01T10:00:00Z"
        ) from None


def _consent(found: MemberList, row: Row, zone: tzinfo, now: Ms) -> dict[str, Any] | None:
    """An answer to marketing with its evidence; None where nothing is proved: then only service notices go."""
    answer = row["marketing"].casefold()
    if answer and answer not in YES | NO | {"unknown", "未知"}:
        raise ValueError(f"marketing {row['marketing'][:20]!r} must be yes or no")
    at = _time(row, "consent_at", zone)
    if at > now:
        raise ValueError("consent_at is in the future")
    source = f"{SOURCE}{row['consent_source'][:100]}"
    if answer in NO:
        return {"verdict": "refused", "at": at or now, "wording": "", "source": source}
    if answer not in YES:
        return None
    missing = [name for name in ("consent_at", "consent_wording", "consent_source") if not row[name]]
    if missing:
        found.unproved += 1
        found.notes.append(
            f"line {row.line}: marketing yes without {', '.join(missing)}: left unknown, service notices only"
        )
        return None
    return {"verdict": "granted", "at": at, "wording": row["consent_wording"][:500], "source": source}


def _number(found: MemberList, row: Row, phone: str) -> str:
    """A card number that can be kept: one of ours, and nobody else's in the file."""
    number = re.sub(r"[\s-]", "", row["member_no"]).removesuffix(".0")
    if not number:
        return ""
    if ids.member_partition(number) is None or found.numbers.get(number, phone) != phone:
        found.renumbered += 1
        found.notes.append(f"line {row.line}: its card number cannot be kept; a new one is given")
        return ""
    return number


# --- what it does -----------------------------------------------------------------------------------------------------


async def look(store: Store, found: MemberList) -> Done:
    """Who is there already, and whose card number is somebody else's."""
    done = Done()
    phones = list(found.members)
    for start in range(0, len(phones), TOGETHER):
        part = phones[start : start + TOGETHER]
        records = await store.records(map(subjects.phone, part))
        for phone in part:
            record = records.get(subjects.phone(phone))
            if isinstance(record, Link):
                record = await store.resolve(record.home)
            there = isinstance(record, Buyer) and not record.erased
            done.known += there
            done.new += not there
            done.cards += isinstance(record, Buyer) and record.member is not None
    return done


def events(found: MemberList, name: str, now: Ms) -> list[Event]:
    """What tells each number's record of its member. `name`: of the file, part of the evidence."""
    out = []
    for phone, said in found.members.items():
        body = StaffAsked("import_member", f"{SOURCE}{name[:60]}", json.dumps(said, ensure_ascii=False).encode())
        out.append(Event("", subjects.phone(phone), "", now, now, body))
    return out
