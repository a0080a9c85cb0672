"""Shops that nobody owns: invented buyers of an apparel shop with what they ordered, claimed, wore and were told.

The same seed gives the same shop. Shares and amounts are those of the trade: a third of the buyers never ordered, most of the rest
ordered once, a few order all the time; a few products sell most; marketing is agreed to by a third. `rows` makes the ledger's derived
tables directly (10^6 buyers in a few minutes), for what is measured; `bench.shops_events` tells small ones through the front door.
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Table

from bot import ids, subjects
from bot.clock import DAY_MS, HOUR_MS
from ledger import tables
from ledger.ways import rows_of, way_of

NOW = 1_796_090_400_000  # 2026-12-01 10:00 in Shanghai
PARTITIONS = 64
CHUNK = 10_000
ACCOUNTS = ("wechat-main", "messenger-main", "sms-main", "sms-cn")
SURNAMES = "林陈黄张李王吴刘蔡杨许郑谢郭洪邱曾廖赖徐周叶苏庄吕江何罗高肖"
GIVEN = "小满子涵雨桐一诺思源梓萱欣怡浩然宇轩佳宁若曦沐晨书瑶明远静姝安然知行"
CITIES = (
    "上海 北京 广州 深圳 杭州 成都 重庆 武汉 西安 苏州 南京 天津 长沙 郑州 东莞 青岛 沈阳 宁波 昆明 大连 厦门 合肥 佛山 福州 哈尔滨 济南 温州 长春 "
    "石家庄 常州 泉州 南宁 贵阳 南昌 太原 烟台 嘉兴 南通 金华 珠海 惠州 徐州 海口 乌鲁木齐 绍兴 中山 台州 兰州 潍坊 保定 镇江 扬州 台北 香港"
).split()
TAGS = "casual trendy formal military british street linen wool silk cotton red black blue sport date vip newsletter".split()
SIZES = ("XS", "S", "M", "L", "XL", "XXL")
KINDS = ("衬衫", "T恤", "连衣裙", "牛仔裤", "针织衫", "外套", "羽绒服", "半身裙", "卫衣", "西裤")
CAMPAIGNS = tuple(f"DAY{n:02d}" for n in range(1, 13))
LEVELS = ("basic", "basic", "basic", "basic", "silver", "silver", "gold")
BROADCASTS = tuple(f"c_00past{n:012d}" for n in range(1, 6))

COLUMNS: dict[str, tuple[str, ...]] = {
    "buyers": tuple(
        "id partition home created_at updated_at name locale timezone birthday birth_year birth_month birth_day gender sizes erased "
        "merged_into member_no member_level member_points member_joined_at member_source orders_count spent average_order "
        "first_order_at last_order_at last_in_at last_marketing_at can_market window_closes_at way draw".split()
    ),
    "phones": ("phone", "buyer"),
    "tags": ("buyer", "tag"),
    "addresses": tuple(
        "buyer account address reachable blocked opted_out service marketing calls coupons window_closes_at last_in_at followed_at".split()
    ),
    "ways": tuple("way line account reachable blocked opted_out service marketing calls coupons".split()),
    "coupons": tuple("code buyer campaign state claimed_at expires_at redeemed_at order_id".split()),
    "orders": tuple(
        "subject shop id number pay ship refund closed total currency city placed_at paid_at updated_at buyer".split()
    ),
    "owners": ("subject", "buyer"),
    "items": tuple("subject line sku product title qty price paid_at buyer".split()),
    "messages": tuple(
        "id partition buyer account address purpose key source broadcast state reason created_at updated_at parts cost".split()
    ),
}
"""What `rows` fills, in this order; columns that are not named keep their defaults."""


class Shop:
    """One invented shop of `buyers` people, as of `now` (ms)."""

    def __init__(self, buyers: int, *, seed: int = 1, now: int = NOW, partitions: int = PARTITIONS) -> None:
        self.buyers, self.seed, self.now, self.partitions = buyers, seed, now, partitions
        self.rng = rng = random.Random(seed)
        self.products = [
            (
                f"p{n:04d}",
                f"{rng.choice(KINDS)} {n}",
                round(math.exp(rng.gauss(5.1, 0.6))) * tables.SCALE,
            )
            for n in range(400)
        ]
        self._product_weights = _zipf(len(self.products))
        self._city_weights = _zipf(len(CITIES), 0.8)
        self._ways: set[int] = set()
        self._before = ""  # the last one who is still there: into whom others were merged

    def chunks(self) -> Iterator[dict[str, list[tuple[Any, ...]]]]:
        """The rows of every table, `CHUNK` buyers at a time."""
        for start in range(0, self.buyers, CHUNK):
            made: dict[str, list[tuple[Any, ...]]] = {name: [] for name in COLUMNS}
            count = min(CHUNK, self.buyers - start)
            rng = self.rng
            cities = rng.choices(CITIES, cum_weights=self._city_weights, k=count)
            products = rng.choices(self.products, cum_weights=self._product_weights, k=count * 6)
            for n in range(count):
                self._buyer(start + n, made, cities[n], products[n * 6 : n * 6 + 6])
            yield made

    # --- one buyer ------------------------------------------------------------------------------------------------------

    def _buyer(self, n: int, made: dict[str, list[tuple[Any, ...]]], city: str, liked: list[Any]) -> None:
        rng, now, chance = self.rng, self.now, self.rng.random
        created = now - int(chance() ** 1.5 * 1100 * DAY_MS) - HOUR_MS
        chat = "wechat-main" if chance() < 0.85 else "messenger-main"
        by_chat = chance() < 0.75
        phone = f"+861{3_000_000_000 + n * 7 % 6_000_000_000:010d}" if not by_chat or chance() < 0.7 else ""
        handle = f"oMade{n:023d}" if chat == "wechat-main" else f"70{n:014d}"
        home = subjects.address(chat, handle) if by_chat else subjects.phone(phone)
        partition = subjects.partition_of(home, self.partitions)
        id = ids.derived("b", partition, f"{home}|{self.seed}")
        paid, spent, first, last = self._orders(n, id, made, city, liked, created)
        last_in = now - int(chance() ** 2 * (now - created))
        agreed, closes, way = self._addresses(id, made, phone, chat if by_chat else "", handle, last_in, created)
        for tag in rng.sample(TAGS, k=rng.choice((0, 0, 0, 1, 1, 2, 3))):
            made["tags"].append((id, tag))
        if phone:
            made["phones"].append((phone, id))
        told = self._told(n, id, partition, made, chat, handle, created, agreed)
        self._coupons(n, id, made, created)
        member = chance() < 0.45
        joined = created + int(chance() * (now - created))
        year = rng.randint(1965, 2008) if chance() < 0.4 else 0
        month, day = (rng.randint(1, 12), rng.randint(1, 28)) if year or chance() < 0.2 else (0, 0)
        birthday = (f"{year:04d}-" if year else "") + f"{month:02d}-{day:02d}" if month else ""
        erased, gone = chance() < 0.002, bool(self._before) and chance() < 0.01
        made["buyers"].append(
            (
                id, partition, home, created, max(created, last),
                "" if erased or chance() < 0.15 else rng.choice(SURNAMES) + "".join(rng.choices(GIVEN, k=2)),
                rng.choices(("zh-CN", "zh-TW", "en", ""), cum_weights=(0.8, 0.86, 0.9, 1))[0], "",
                birthday, year, month, day,
                rng.choices(("female", "male", "unsaid", ""), cum_weights=(0.55, 0.68, 0.7, 1))[0],
                f'{{"top":"{rng.choice(SIZES)}"}}' if chance() < 0.3 else "",
                erased, self._before if gone and not erased else "",
                ids.member_number(partition, n % 10_000_000) if member else "",
                rng.choice(LEVELS) if member else "", paid * 100 if member else 0,
                joined if member else 0, f"{chat}:keyword" if member else "",
                paid, spent, spent // paid if paid else 0, first, last, last_in, told,
                agreed and not erased and not gone, closes, way, ids.draw(id),
            )
        )  # fmt: skip
        if not (erased or gone):
            self._before = id

    def _addresses(
        self,
        id: str,
        made: dict[str, list[tuple[Any, ...]]],
        phone: str,
        chat: str,
        handle: str,
        last_in: int,
        created: int,
    ) -> tuple[bool, int, int]:
        """Whether marketing is agreed to somewhere that is reachable, when the last window closes, and the way of all."""
        chance = self.rng.random
        out = chance() < 0.04
        agreed, first = False, len(made["addresses"])
        where = ([(chat, handle)] if chat else []) + (
            [("sms-cn" if chance() < 0.9 else "sms-main", phone)] if phone else []
        )
        for account, address in where:
            draw = chance()
            marketing = "refused" if out or draw > 0.93 else "granted" if draw < 0.38 else "unknown"
            reachable = chance() < 0.96
            closes = last_in + 48 * HOUR_MS if account == "wechat-main" else last_in + 24 * HOUR_MS
            agreed = agreed or (marketing == "granted" and reachable and not out)
            made["addresses"].append(
                (
                    id, account, address, reachable, False, out, "granted", marketing,
                    "granted" if chance() < 0.15 else "unknown", "unknown", 0 if "sms" in account else closes,
                    0 if "sms" in account else last_in, created if account == "wechat-main" else 0,
                )
            )  # fmt: skip
        mine = [dict(zip(COLUMNS["addresses"], row, strict=True)) for row in made["addresses"][first:]]
        way = way_of(mine)
        if way not in self._ways:
            self._ways.add(way)
            made["ways"] += [tuple(row[name] for name in COLUMNS["ways"]) for row in rows_of(way, mine)]
        return agreed, max(row["window_closes_at"] for row in mine), way

    def _orders(
        self, n: int, id: str, made: dict[str, list[tuple[Any, ...]]], city: str, liked: list[Any], created: int
    ) -> tuple[int, int, int, int]:
        """How many paid, what they sum to, the first paid and the last."""
        rng, now, chance = self.rng, self.now, self.rng.random
        if chance() < 0.35:
            return 0, 0, 0, 0
        count = min(1 + int(rng.expovariate(1.1)), 40)
        paid = spent = first = last = 0
        for k in range(count):
            placed = created + int(chance() ** 0.7 * (now - created))
            subject = f"order:main:{n * 64 + k}"
            is_paid = chance() < 0.86
            paid_at = min(placed + int(rng.expovariate(1 / HOUR_MS)), now) if is_paid else 0
            total = 0
            for line in range(1 + (chance() < 0.35) + (chance() < 0.1)):
                product, title, price = liked[(k + line) % 6]
                size = SIZES[1 + (n + line) % 4]
                made["items"].append((subject, line, f"{product}-{size}", product, title, 1, price, paid_at, id))
                total += price
            recent = now - placed < 6 * DAY_MS
            ship = "none" if not is_paid else "in_transit" if recent else "delivered"
            pay = "paid" if is_paid else "unpaid"
            refund = "none"
            if is_paid and chance() < 0.06:
                refund, pay = "succeeded", "refunded"
            closed = "" if is_paid or now - placed < DAY_MS else "closed_unpaid"
            made["orders"].append(
                (
                    subject, "main", str(n * 64 + k), f"#{n * 64 + k}", pay, ship, refund, closed, total, "CNY",
                    city if chance() < 0.95 else rng.choice(CITIES), placed, paid_at, paid_at or placed, id,
                )
            )  # fmt: skip
            made["owners"].append((subject, id))
            last = max(last, placed)
            if is_paid:
                paid, spent = paid + 1, spent + total
                first = min(first or placed, placed)
        return paid, spent, first, last

    def _told(
        self,
        n: int,
        id: str,
        partition: int,
        made: dict[str, list[tuple[Any, ...]]],
        chat: str,
        handle: str,
        created: int,
        agreed: bool,  # noqa: FBT001  # one row's facts
    ) -> int:
        """Messages of the last months; when the last marketing went out (0 never)."""
        now, chance = self.now, self.rng.random
        told = 0
        for k in range(1 + (chance() < 0.4)):
            marketing = agreed and chance() < 0.6
            which = int(chance() * 5)
            at = max(now - (6 + 7 * which) * DAY_MS if marketing else now - int(chance() * 180 * DAY_MS), created)
            draw = chance()
            state = "delivered" if draw < 0.6 else "read" if draw < 0.9 else "failed" if draw < 0.95 else "skipped"
            if marketing and state not in ("failed", "skipped"):
                told = max(told, at)
            purpose, key, source = (
                ("marketing", "broadcast", "broadcast") if marketing else ("service", "order_shipped", "journey")
            )
            made["messages"].append(
                (
                    ids.derived("m", partition, f"{n}|{k}"), partition, id, chat, handle, purpose, key, source,
                    BROADCASTS[which] if marketing else "", state, "unreachable" if state == "failed" else "", at, at + 2000, 0, "",
                )
            )  # fmt: skip
        return told

    def _coupons(self, n: int, id: str, made: dict[str, list[tuple[Any, ...]]], created: int) -> None:
        now, chance = self.now, self.rng.random
        if chance() > 0.4:
            return
        campaign = int(chance() * 12)
        claimed = max(created, now - int(chance() * 330 * DAY_MS))
        used = chance() < 0.3
        made["coupons"].append(
            (
                f"M{n:011d}", id, CAMPAIGNS[campaign], "redeemed" if used else "claimed", claimed,
                claimed + 60 * DAY_MS, claimed + 3 * DAY_MS if used else 0, "",
            )
        )  # fmt: skip


def _zipf(count: int, power: float = 1.0) -> list[float]:
    weights, total = [], 0.0
    for rank in range(1, count + 1):
        total += 1 / rank**power
        weights.append(total)
    return weights


# --- into a database --------------------------------------------------------------------------------------------------


def columns_of(table: Table) -> tuple[list[str], tuple[Any, ...]]:
    """All columns to write: the named ones, then those that keep a default, and these defaults."""
    named = COLUMNS[table.name]
    rest = [column for column in table.columns if column.name not in named]
    defaults = []
    for column in rest:
        value = column.default.arg if column.default is not None and column.default.is_scalar else ""
        defaults.append(
            column.type.process_bind_param(value, None) if isinstance(column.type, tables.Amount) else value
        )  # type: ignore[arg-type]
    return [*named, *(column.name for column in rest)], tuple(defaults)


def into_sqlite(path: str, shop: Shop) -> None:
    """Fills the (empty) tables of a database file."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-400000")
        for made in shop.chunks():
            for name, rows in made.items():
                names, defaults = columns_of(tables.metadata.tables[name])
                marks = ",".join("?" * len(names))
                connection.executemany(
                    f"INSERT OR IGNORE INTO {name} ({','.join(names)}) VALUES ({marks})",  # noqa: S608
                    [(*row, *defaults) for row in rows] if defaults else rows,
                )
        connection.commit()
    connection.close()


async def into_postgres(connection: Any, shop: Shop) -> None:
    """Fills the (empty) tables by COPY; `connection` is asyncpg's."""
    for made in shop.chunks():
        for name, rows in made.items():
            names, defaults = columns_of(tables.metadata.tables[name])
            await connection.copy_records_to_table(
                name, columns=names, records=[(*row, *defaults) for row in rows] if defaults else rows
            )
