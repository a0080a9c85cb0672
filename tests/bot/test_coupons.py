"""Coupons on a real Valkey: exact under a race, the same code again, limits over merges, claims that were never committed."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from bot import ids, keys, subjects
from bot.catalogue import Catalogue
from bot.clock import SystemClock
from bot.codec import dump_record
from bot.coupons import ALPHABET, TENTATIVE_MS, Campaign, CodesTakenError, Coupons, StockError, new_code
from bot.records import Buyer, Coupon
from bot.redis_client import connect
from bot.resolver import EffectResolver
from bot.store import Store

NOW = 1_790_000_000_000
DAY = 86_400_000
ROUNDS, CLAIMS, BUYERS, STOCK, LINES = 20, 60, 15, 10, 6
pytestmark = pytest.mark.every_store


def campaign(key: str = "RACE", **fields) -> Campaign:
    return Campaign(key, "券", "amount_off", **{"stock": STOCK, "value": "50", "currency": "CNY", **fields})


@pytest.fixture
async def coupons(redis_client) -> Coupons:
    return Coupons(Store(redis_client, 64, "one"))


@pytest.fixture
async def lines(running_stores, store_kind, redis_client):
    """Several processes' connections to the same store."""
    clients = [connect(running_stores[store_kind].url) for _ in range(LINES)]
    yield clients
    for client in clients:
        await client.aclose()


async def naive(client, key: str, buyer: str) -> str:
    """What not to do: look, then write. The control: this must give too many, or the test could not see it."""
    held = await client.get(f"naive:{key}:{buyer}")
    if held:
        return held.decode()
    left = int(await client.get(f"naive:{key}"))
    if left <= 0:
        return ""
    await client.set(f"naive:{key}", left - 1)
    code = new_code()
    await client.set(f"naive:{key}:{buyer}", code)
    return code


async def race(claim) -> dict[str, set[str]]:
    """60 claims by 15 buyers at once, over all lines: codes by buyer."""
    answers = await asyncio.gather(*(claim(n % LINES, f"b{n % BUYERS}") for n in range(CLAIMS)))
    held: dict[str, set[str]] = {}
    for n, code in enumerate(answers):
        if code:
            held.setdefault(f"b{n % BUYERS}", set()).add(code)
    return held


async def test_a_race_never_gives_more_than_the_stock(lines):
    """20 rounds: exactly 10 codes to 10 buyers, one each; the naive way gives too many in the same rounds."""
    every = [Coupons(Store(client, 64, f"p{n}")) for n, client in enumerate(lines)]
    over = several = 0
    for number in range(ROUNDS):
        key = f"RACE{number}"
        assert await every[0].create(campaign(key))
        await lines[0].set(f"naive:{key}", STOCK)
        held = await race(lambda n, buyer, key=key: _claim(every[n], key, buyer))
        assert len(held) == STOCK
        assert all(len(codes) == 1 for codes in held.values())
        assert len(set.union(*held.values())) == STOCK
        found = await every[0].get(key)
        assert found is not None
        assert (found[1].claimed, found[1].remaining) == (STOCK, 0)
        wrong = await race(lambda n, buyer, key=key: naive(lines[n], key, buyer))
        over += max(0, sum(map(len, wrong.values())) - STOCK)
        several += sum(len(codes) > 1 for codes in wrong.values())
    assert over > 0, "the control saw no race: this test proves nothing"
    assert several > 0


async def _claim(coupons: Coupons, key: str, buyer: str) -> str:
    return (await coupons.claim(key, buyer, NOW)).code


def test_codes_are_easy_to_read_and_hard_to_guess():
    """12 characters of 32, upper case, without 0 O 1 I."""
    assert len(ALPHABET) == len(set(ALPHABET)) == 32
    assert not set(ALPHABET) & set("0O1I")
    codes = {new_code() for _ in range(1000)}
    assert len(codes) == 1000
    assert all(re.fullmatch(f"[{ALPHABET}]{{12}}", code) for code in codes)


async def test_before_and_after_its_time_nothing_is_given(coupons):
    """Not started, ended, unknown: no code, no count; at the very start one is given."""
    await coupons.create(campaign(starts_at=NOW, ends_at=NOW + DAY))
    assert (await coupons.claim("RACE", "b1", NOW - 1)).outcome == "not_started"
    assert (await coupons.claim("RACE", "b1", NOW + DAY)).outcome == "ended"
    assert (await coupons.claim("NONE", "b1", NOW)).outcome == "unknown"
    assert (await coupons.get("RACE"))[1].claimed == 0
    assert (await coupons.claim("RACE", "b1", NOW)).outcome == "won"


async def test_the_same_code_is_shown_while_it_works(coupons):
    """Also when the campaign has ended or is sold out since."""
    await coupons.create(campaign(stock=1, ends_at=NOW + 2 * DAY, valid_days=30))
    first = await coupons.claim("RACE", "b1", NOW)
    for later in (NOW, NOW + 9 * DAY):
        again = await coupons.claim("RACE", "b1", later)
        assert (again.outcome, again.code, again.expires_at) == ("again", first.code, NOW + 30 * DAY)
    assert (await coupons.claim("RACE", "b2", NOW)).outcome == "sold_out"


async def test_a_used_or_expired_one_is_not_shown_as_working(coupons):
    """One per buyer: after its use or its end no other is given, and the old one is not praised."""
    await coupons.create(campaign(valid_days=1))
    used = await coupons.claim("RACE", "b1", NOW)
    assert (await coupons.redeem(used.code, "5001", NOW))[0] == "ok"
    again = await coupons.claim("RACE", "b1", NOW)
    assert (again.outcome, again.code) == ("limit", used.code)
    old = await coupons.claim("RACE", "b2", NOW)
    assert (await coupons.claim("RACE", "b2", NOW + DAY)).outcome == "limit"
    assert (await coupons.redeem(old.code, "5002", NOW + DAY))[0] == "expired"
    assert (await coupons.get("RACE"))[1].claimed == 2


async def test_several_per_buyer_one_after_another(coupons):
    """Two per buyer: the second only when the first is used; a third never."""
    await coupons.create(campaign(per_buyer=2))
    first = await coupons.claim("RACE", "b1", NOW)
    assert (await coupons.claim("RACE", "b1", NOW)).code == first.code
    await coupons.redeem(first.code, "1", NOW)
    second = await coupons.claim("RACE", "b1", NOW)
    assert second.outcome == "won"
    assert (await coupons.claim("RACE", "b1", NOW)).code == second.code
    await coupons.redeem(second.code, "2", NOW)
    assert (await coupons.claim("RACE", "b1", NOW)).outcome == "limit"


async def test_a_code_is_used_for_one_order(coupons):
    """The same order again is fine, another is refused; spelling with blanks, hyphens and lower case is forgiven."""
    await coupons.create(campaign())
    code = (await coupons.claim("RACE", "b1", NOW)).code
    spelled = f" {code[:4].lower()}-{code[4:8]}-{code[8:]} "
    assert [(await coupons.redeem(spelled, order, NOW))[0] for order in ("1", "1", "2")] == ["ok", "again", "other"]
    assert (await coupons.redeem("NOSUCHCODE22", "1", NOW))[0] == "unknown"
    assert (await coupons.get("RACE"))[1].redeemed == 1


async def test_uses_at_once_count_once(coupons):
    """Ten tills scan the same code for ten orders: one wins."""
    await coupons.create(campaign())
    code = (await coupons.claim("RACE", "b1", NOW)).code
    answers = await asyncio.gather(*(coupons.redeem(code, str(n), NOW) for n in range(10)))
    assert sorted(outcome for outcome, _ in answers) == ["ok", *["other"] * 9]


async def test_a_pool_of_own_codes_runs_out(coupons):
    """Codes of the shop are given in their order; an empty pool is sold out, also below the stock."""
    pool = ["SHOPCODE2345", "SHOPCODE6789"]
    await coupons.create(campaign(stock=5), pool)
    assert [await _claim(coupons, "RACE", f"b{n}") for n in range(2)] == pool
    assert (await coupons.claim("RACE", "b9", NOW)).outcome == "sold_out"
    assert (await coupons.find(pool[0])).buyer == "b0"
    with pytest.raises(CodesTakenError, match=pool[1]):
        await coupons.create(campaign("OTHER"), ["FREECODE2345", pool[1]])
    assert await coupons.create(campaign("OTHER"), ["FREECODE2345"])


async def test_codes_that_did_not_come_into_a_campaign_are_free(coupons):
    """Refused with others, with a key that is taken, or with a stock that cannot be: another campaign may have them."""
    ours, free = "SHOPCODE2345", ["FREECODE2345", "FREECODE6789"]
    await coupons.create(campaign(), [ours])
    with pytest.raises(CodesTakenError):
        await coupons.create(campaign("OTHER"), [free[0], ours])
    assert await coupons.owners([*free, ours]) == {ours: "RACE"}
    assert not await coupons.create(campaign(), free)
    assert await coupons.owners([*free, ours]) == {ours: "RACE"}
    with pytest.raises(StockError):
        await coupons.change("RACE", lambda found: setattr(found, "stock", 99), [ours, *free])
    assert await coupons.owners([*free, ours]) == {ours: "RACE"}  # what was ours stays ours
    assert await coupons.change("NONE", lambda _: None, free) is None
    assert await coupons.create(campaign("THIRD"), free)
    assert await coupons.owners([*free, ours]) == {ours: "RACE", free[0]: "THIRD", free[1]: "THIRD"}


async def test_an_unclaimed_code_of_a_pool_is_nobodys(coupons):
    """It cannot be used before somebody holds it."""
    await coupons.create(campaign(), ["SHOPCODE2345"])
    assert await coupons.find("SHOPCODE2345") is None
    assert (await coupons.redeem("SHOPCODE2345", "1", NOW))[0] == "unknown"


async def test_changes_at_once_are_all_kept(coupons):
    """Ten staff each give the campaign one more: none is lost; it may shrink to what is claimed, and no further."""
    await coupons.create(campaign(stock=1))

    def more(one: Campaign) -> None:
        one.stock += 1

    await asyncio.gather(*(coupons.change("RACE", more) for _ in range(10)))
    assert (await coupons.get("RACE"))[0].stock == 11
    for n in range(3):
        await coupons.claim("RACE", f"b{n}", NOW)
    with pytest.raises(StockError):
        await coupons.change("RACE", lambda one: setattr(one, "stock", 2))
    await coupons.change("RACE", lambda one: setattr(one, "stock", 3))
    assert (await coupons.get("RACE"))[1].remaining == 0
    assert (await coupons.claim("RACE", "b3", NOW)).outcome == "sold_out"


# --- merges -----------------------------------------------------------------------------------------------------------


async def test_a_merged_buyers_coupon_counts_for_the_survivor(coupons):
    """Re-keyed or not yet: the survivor gets no second one, and the stock counts the one."""
    await coupons.create(campaign())
    held = await coupons.claim("RACE", "loser", NOW)
    before = await coupons.claim("RACE", "older", NOW, merged=["loser"])
    assert (before.outcome, before.code) == ("again", held.code)
    await coupons.rekey("RACE", held.code, "older")
    await coupons.rekey("RACE", held.code, "older")
    after = await coupons.claim("RACE", "older", NOW)
    assert (after.outcome, after.code) == ("again", held.code)
    assert (await coupons.find(held.code)).buyer == "older"
    assert (await coupons.get("RACE"))[1].claimed == 1


async def test_who_both_had_one_keeps_both_and_gets_no_third(coupons):
    """Two were given out, two are counted; the limit is reached."""
    await coupons.create(campaign())
    mine, theirs = [await coupons.claim("RACE", buyer, NOW) for buyer in ("older", "loser")]
    await coupons.rekey("RACE", theirs.code, "older")
    for code in (theirs.code, mine.code):
        assert (await coupons.claim("RACE", "older", NOW)).outcome == "again"
        await coupons.redeem(code, f"order of {code}", NOW)
    assert (await coupons.claim("RACE", "older", NOW)).outcome == "limit"
    assert (await coupons.get("RACE"))[1].claimed == 2


async def test_what_merged_buyers_hold_is_the_survivors_whatever_a_claim_comes_to(coupons):
    """Of a campaign that has run out since: the coupon is the survivor's from that look on, once, and the limit holds."""
    await coupons.create(campaign(per_buyer=3, stock=2))
    held = [(await coupons.claim("RACE", f"loser{n}", NOW)).code for n in range(2)]
    await coupons.redeem(held[0], "5001", NOW)
    await coupons.redeem(held[1], "5002", NOW)
    for _ in range(3):
        assert (await coupons.claim("RACE", "older", NOW, merged=["loser0", "loser1"])).outcome == "sold_out"
    assert {(await coupons.find(code)).buyer for code in held} == {"older"}
    await coupons.change("RACE", lambda one: setattr(one, "stock", 9))
    third = await coupons.claim("RACE", "older", NOW)  # by its own id alone: what they held is known by now
    assert third.outcome == "won"
    await coupons.redeem(third.code, "5003", NOW)
    assert (await coupons.claim("RACE", "older", NOW, merged=["loser0"])).outcome == "limit"
    assert (await coupons.claim("RACE", "loser0", NOW)).outcome == "won"  # nothing is kept under the old id


# --- claims whose turn was never committed ----------------------------------------------------------------------------


def resolver(store: Store, coupons: Coupons, clock: SystemClock) -> EffectResolver:
    return EffectResolver(
        store=store,
        coupons=coupons,
        catalogue=Catalogue(store),
        codes=None,
        clock=clock,
        spend=None,
        accounts={},
        sms_order=(),
        notices=frozenset(),
        broadcasts=None,
    )


async def test_an_uncommitted_claim_returns_after_ten_minutes(redis_client):
    """Nobody's record holds it: back in the stock, and its code is worth nothing; a minute before, it is still kept."""
    store, clock = Store(redis_client, 64, "one"), SystemClock()
    coupons = Coupons(store)
    await coupons.create(campaign(stock=1))
    claim = await coupons.claim("RACE", ids.new("b", 3), clock.now())
    sweeping = resolver(store, coupons, clock)
    clock.set_offset(TENTATIVE_MS - 60_000)
    await sweeping.sweep()
    assert (await coupons.get("RACE"))[1].remaining == 0
    clock.set_offset(TENTATIVE_MS + 1000)
    await asyncio.gather(sweeping.sweep(), sweeping.sweep())
    assert (await coupons.get("RACE"))[1].remaining == 1
    assert await coupons.find(claim.code) is None
    assert await coupons.tentative(clock.now() + TENTATIVE_MS) == []
    assert await coupons.pool("RACE") == set()  # a code of ours is drawn, never given again
    assert (await coupons.claim("RACE", ids.new("b", 4), clock.now())).outcome == "won"


async def test_whose_claim_came_to_nothing_may_claim_again(coupons):
    """A coupon that was released counts against nobody's limit; the others of its buyer stay."""
    await coupons.create(campaign(per_buyer=2))
    first = await coupons.claim("RACE", "b1", NOW)
    await coupons.redeem(first.code, "5001", NOW)
    second = await coupons.claim("RACE", "b1", NOW)
    await coupons.release("RACE", second.code)
    third = await coupons.claim("RACE", "b1", NOW)
    assert (third.outcome, third.code == second.code) == ("won", False)
    await coupons.redeem(third.code, "5002", NOW)
    assert (await coupons.claim("RACE", "b1", NOW)).outcome == "limit"
    assert (await coupons.get("RACE"))[1].claimed == 2


async def test_a_committed_claim_whose_confirmation_was_lost_is_kept(redis_client):
    """The process died between the commit and the confirmation: the record holds the code, so it stays."""
    store, clock = Store(redis_client, 64, "one"), SystemClock()
    coupons = Coupons(store)
    await coupons.create(campaign())
    home = subjects.phone("+8613900001234")
    partition = store.partition(home)
    buyer = Buyer(ids.new("b", partition), home, 1)
    claim = await coupons.claim("RACE", buyer.id, clock.now())
    buyer.coupons.append(Coupon(claim.code, "RACE"))
    await redis_client.set(keys.record(partition, home), dump_record(buyer))
    await redis_client.hset(keys.index(partition), f"b:{buyer.id}", home)
    clock.set_offset(TENTATIVE_MS + 1000)
    await resolver(store, coupons, clock).sweep()
    assert (await coupons.find(claim.code)).buyer == buyer.id
    assert await coupons.tentative(clock.now()) == []


async def test_a_released_code_of_a_pool_is_given_again(coupons):
    """The shop's own code goes back into the pool; a used one never does, and stays the buyer's."""
    await coupons.create(campaign(stock=2), ["SHOPCODE2345", "SHOPCODE6789"])
    code = await _claim(coupons, "RACE", "b1")
    await coupons.release("RACE", code)
    await coupons.release("RACE", code)
    assert (await coupons.get("RACE"))[1].claimed == 0
    assert [await _claim(coupons, "RACE", f"b{n}") for n in (2, 3)] == ["SHOPCODE6789", code]
    await coupons.redeem(code, "1", NOW)
    await coupons.release("RACE", code)
    assert (await coupons.get("RACE"))[1].claimed == 2
    assert (await coupons.claim("RACE", "b3", NOW)).outcome == "limit"


async def test_a_claim_is_quick_beside_large_pools(coupons):
    """A pool of 20,000 codes is made in one go, and claims do not walk it."""
    pool = [new_code() for _ in range(20_000)]
    await coupons.create(campaign(stock=len(pool)), pool)
    started = time.monotonic()
    for n in range(50):
        await coupons.claim("RACE", f"b{n}", NOW)
    assert time.monotonic() - started < 5
