"""The store's scripts on a real server."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from bot import keys
from bot.change import Change, Commit, Letter, QueuedMessage, Settlement, StatusChange
from bot.clock import DAY_MS
from bot.errors import StoreFullError
from bot.store import Store

NOW = 1_790_000_000_000
pytestmark = pytest.mark.every_store
SUBJECT = "address:wechat-main:oBuyer1"


async def owned(redis_client, owner="one") -> Store:
    store = Store(redis_client, 64, owner)
    for p, (fence, _, _) in (await store.lease(dict.fromkeys(range(64), "k"), 5000)).items():
        if fence:
            store.fences[p] = fence
            store.cursors[p] = ["0", "0"]
    return store


async def one_entry(store, subject=SUBJECT, digest=b"12345678", body=b"body"):
    await store.append([(subject, digest, body)])
    taken, records = await store.take(sorted(store.fences), inbox=100, bulk=100)
    return taken, records


def change_of(taken, **fields) -> Change:
    return Change(taken.partition, taken.subject, taken.lane, taken.entry, taken.digest, **fields)


async def test_an_appended_event_is_taken_with_its_record(redis_client):
    """What intake appends the owner takes, once, together with the record."""
    store = await owned(redis_client)
    taken, records = await one_entry(store)

    assert [(t.subject, t.digest, t.body, t.seen) for t in taken] == [(SUBJECT, b"12345678", b"body", False)]
    assert records == {SUBJECT: b""}
    assert (await store.take(sorted(store.fences), inbox=100, bulk=100))[0] == []


async def test_what_was_read_of_a_partition_given_back_meanwhile_is_left_to_its_next_owner(redis_client):
    """Given back before the call, or while its answer is on its way: nothing of it is run, and the other partitions are."""
    store = await owned(redis_client)
    other = next(f"address:wechat-main:o{n}" for n in range(99) if store.partition(f"address:wechat-main:o{n}") == 7)
    await store.append([(SUBJECT, b"", b"gone"), (other, b"", b"ours")])
    gone = store.partition(SUBJECT)
    reading = asyncio.create_task(store.take([gone, 7], inbox=9, bulk=9))
    await asyncio.sleep(0)  # the call is on its way
    del store.fences[gone], store.cursors[gone]
    assert [one.body for one in (await reading)[0]] == [b"ours"]
    assert await store.take([gone], inbox=9, bulk=9) == ([], {})


async def test_commit_writes_all_and_removes_the_entry(redis_client):
    """One commit writes the record, timers, mail, index, tasks and journal and deletes the inbox entry."""
    store = await owned(redis_client)
    [taken], _ = await one_entry(store)
    p = taken.partition
    change = change_of(taken, record=b"record", journal=b"journal")
    change.timers.append(("+", "profile", NOW + 5))
    change.mails.append(Letter("phone:+8613900001234", b"", b"letter", 3))
    change.index.append(("b:b_1", SUBJECT))
    change.tasks.append(("t_1", b"task"))

    [(outcome, mails)], _ = await store.commit([change], now=NOW)

    assert outcome is Commit.DONE
    assert len(mails) == 1
    tag = f"{{p{p:02d}}}"
    assert await redis_client.get(f"rec:{tag}:{SUBJECT}") == b"record"
    assert await redis_client.xlen(f"inbox:{tag}") == 0
    assert await redis_client.zrange(f"timers:{tag}", 0, -1) == [SUBJECT.encode() + b"\0profile"]
    assert await redis_client.hget(f"idx:{tag}", "b:b_1") == SUBJECT.encode()
    assert await redis_client.hget(f"tasks:{tag}", "t_1") == b"task"
    assert await redis_client.xlen(f"journal:{tag}") == 1
    assert await store.waiting_mail(p) == [(mails[0][0], 3, 1, "phone:+8613900001234", b"", b"letter")]


async def test_a_repeated_event_is_recognised_over_days(redis_client):
    """A repeat is seen at the take; one that slips into the same batch is refused by the commit."""
    store = await owned(redis_client)
    [first], _ = await one_entry(store)
    await store.commit([change_of(first, record=b"1")], now=NOW - 8 * 86_400_000)
    [again], _ = await one_entry(store)
    assert again.seen

    [other], _ = await one_entry(store, digest=b"abcdefgh")
    [twin], _ = await one_entry(store, digest=b"abcdefgh")
    outcomes, _ = await store.commit([change_of(other, record=b"2"), change_of(twin, record=b"3")], now=NOW)
    assert [o for o, _ in outcomes] == [Commit.DONE, Commit.REPEATED]
    assert (await store.raw_records([SUBJECT]))[SUBJECT] == b"2"

    [repeat], _ = await one_entry(store, digest=b"abcdefgh")
    [after], _ = await one_entry(store, digest=b"ijklmnop")
    outcomes, _ = await store.commit([change_of(repeat, record=b"4"), change_of(after, record=b"5")], now=NOW)
    assert [o for o, _ in outcomes] == [Commit.REPEATED, Commit.REFUSED]  # it was reckoned from what never was
    assert (await store.raw_records([SUBJECT]))[SUBJECT] == b"2"


async def test_later_turns_of_a_refused_record_are_refused(redis_client):
    """A turn computed from one that did not go through must run again."""
    store = await owned(redis_client)
    [first], _ = await one_entry(store, digest=b"aaaaaaaa")
    await store.commit([change_of(first, record=b"1")], now=NOW)
    [next_], _ = await one_entry(store, digest=b"bbbbbbbb")

    outcomes, _ = await store.commit([change_of(first, record=b"x"), change_of(next_, record=b"y")], now=NOW)

    assert [o for o, _ in outcomes] == [Commit.GONE, Commit.REFUSED]
    assert (await store.raw_records([SUBJECT]))[SUBJECT] == b"1"


async def test_a_stale_owner_can_commit_nothing(redis_client):
    """A fence that has moved on voids the former owner's turns."""
    store = await owned(redis_client)
    [taken], _ = await one_entry(store)
    await redis_client.hset(f"lease:{{p{taken.partition:02d}}}", "u", 0)
    other = await owned(redis_client, "two")
    assert taken.partition in other.fences

    [(outcome, _)], _ = await store.commit([change_of(taken, record=b"late")], now=NOW)

    assert outcome is Commit.NOT_OWNER
    await store.append([(SUBJECT, b"", b"for the new owner")])
    assert await store.take([taken.partition], inbox=9, bulk=9) == ([], {})
    assert (await store.raw_records([SUBJECT]))[SUBJECT] == b""
    assert await store.pull([(taken.partition, "a", "hi", 5)], now=NOW) == []


async def test_a_commit_with_wrong_arguments_writes_nothing(redis_client):
    """Arguments of all turns are checked before the first write."""
    from redis.exceptions import ResponseError

    store = await owned(redis_client)
    [taken], _ = await one_entry(store)
    good = change_of(taken, record=b"good")
    from bot import keys
    from bot.storeargs import turn_args

    turn = turn_args(good, 1)
    head = [20000, 2, keys.tag(taken.partition), store.fences[taken.partition], len(turn), *turn]
    for second in (
        [len(turn), *turn[:-1]],
        [len(turn) + 1, *turn, ""],
        [len(turn) - 1, *turn],
        [len(turn), 2, *turn[1:]],
        [len(turn), *turn[:-1], "x"],
        ["", *turn],
    ):
        with pytest.raises(ResponseError):
            await store.scripts.run("commit", [keys.lease(taken.partition)], [*head, *second])
    assert (await store.raw_records([SUBJECT]))[SUBJECT] == b""


async def test_mail_arrives_once_and_in_order(redis_client):
    """Relaying the same mail twice, or by two relays, delivers it once."""
    store = await owned(redis_client)
    letters = [(5, 9, n, "phone:+1", b"", f"{n}".encode()) for n in range(1, 6)]
    await store.deliver(letters[:3])
    await asyncio.gather(store.deliver(letters[1:]), store.deliver(letters))
    entries = await redis_client.xrange("inbox:{p05}")
    assert [fields[b"b"] for _, fields in entries] == [b"1", b"2", b"3", b"4", b"5"]


def queued(id, to="oBuyer1", lane="hi", account="wechat-main", state="queued", claim_at=0):
    return QueuedMessage(id, account, to, lane, state, "", NOW, "reply", b"m" + id.encode(), claim_at=claim_at)


async def commit(store, *messages):
    """Commits messages; answers their partition and which of them were claimed."""
    [taken], _ = await one_entry(store, digest=b"")
    change = change_of(taken)
    change.messages.extend(messages)
    _, claimed = await store.commit([change], now=NOW)
    return taken.partition, claimed


async def queue(store, *messages):
    return (await commit(store, *messages))[0]


async def test_a_commit_claims_what_nothing_waits_before(redis_client):
    """A claimed message is in its sender's hands: nobody else can pull it, and its outcome ends it."""
    store = await owned(redis_client)
    first, second = queued("m1", claim_at=NOW + 7), queued("m2", claim_at=NOW + 7)
    p, claimed = await commit(
        store, first, second, queued("m3", to="oBuyer2"), queued("m4", to="oBuyer3", claim_at=NOW)
    )

    assert claimed == {"m1", "m4"}  # the second message to an address waits for the first
    assert [c.id for c in await store.pull([(p, "wechat-main", "hi", 9)], now=NOW)] == ["m3"]
    assert await redis_client.hmget(f"msg:{{p{p:02d}}}:m1", "s", "t", "h") == [
        b"sending",
        b"1",
        f"queued {NOW} \nsending {NOW} \n".encode(),  # in the gateway's time; leases and time-outs run in real time
    ]
    assert await redis_client.zscore(f"sending:{{p{p:02d}}}", "m1") == NOW + 7
    hints = await store.settle([Settlement(p, "m1", 1, "sent")], today=NOW)
    assert [c.id for c in await store.pull(list((*h, 10) for h in hints), now=NOW)] == ["m2"]


async def test_a_claimed_message_whose_sender_died_is_found(redis_client):
    """The claim of a commit is as durable as that of a pull."""
    store = await owned(redis_client)
    p, _ = await commit(store, queued("m1", claim_at=NOW))
    assert (await store.pump(now=NOW, real=NOW, left_behind=NOW - 1))[2] == []
    assert (await store.pump(now=NOW, real=NOW, left_behind=NOW + 1))[2] == [(p, "m1")]


async def test_a_commit_claims_nothing_that_others_wait_before(redis_client):
    """What is queued for the address goes first; so does a reply, before the bulk that a commit would claim."""
    store = await owned(redis_client)
    p = await queue(store, queued("m1"))
    assert (await commit(store, queued("m2", claim_at=NOW)))[1] == set()
    assert (await commit(store, queued("m3", lane="lo", claim_at=NOW)))[1] == set()
    assert [c.id for c in await store.pull([(p, "wechat-main", "hi", 9)], now=NOW)] == ["m1"]
    await store.settle([Settlement(p, "m1", 1, "in_doubt", again_at=NOW + 9, hold_until=NOW + 9)], today=NOW)
    assert (await commit(store, queued("m4", claim_at=NOW)))[1] == set()  # the address is held by a doubt
    await queue(store, queued("b1", to="oBuyer2", lane="lo"))
    assert (await commit(store, queued("b2", to="oBuyer2", lane="lo", claim_at=NOW)))[1] == set()
    assert (await commit(store, queued("r1", to="oBuyer2", claim_at=NOW)))[1] == {"r1"}  # a reply goes before bulk


async def test_a_claim_given_back_is_sent_again_and_costs_no_attempt(redis_client):
    """The commit's answer may be lost: the claim, if there was one, is undone; if there was none, nothing happens."""
    store = await owned(redis_client)
    p, claimed = await commit(store, queued("m1", claim_at=NOW), queued("m2", to="oBuyer2"))
    assert claimed == {"m1"}
    back = [Settlement(p, id, 1, "queued", "throttled", again_at=NOW + 5) for id in ("m1", "m2", "m9")]
    await store.settle(back, today=NOW)
    assert [c.id for c in await store.pull([(p, "wechat-main", "hi", 9)], now=NOW)] == ["m2"]
    _, hints, _ = await store.pump(now=NOW, real=NOW + 6, left_behind=0)
    [again] = await store.pull([(*h, 1) for h in hints], now=NOW + 6)
    assert (again.id, again.attempt, again.tries) == ("m1", 2, 1)


async def test_one_message_in_flight_per_address_and_in_order(redis_client):
    """The second message to an address waits until the first is settled; other addresses do not."""
    store = await owned(redis_client)
    p = await queue(store, queued("m1"), queued("m2"), queued("m3", to="oBuyer2"))

    first = await store.pull([(p, "wechat-main", "hi", 10)], now=NOW)
    assert {c.id for c in first} == {"m1", "m3"}
    assert await store.pull([(p, "wechat-main", "hi", 10)], now=NOW) == []

    hints = await store.settle([Settlement(p, "m1", 1, "sent")], today=NOW)
    assert hints == {(p, "wechat-main", "hi")}
    assert [c.id for c in await store.pull(list((*h, 10) for h in hints), now=NOW)] == ["m2"]


async def test_replies_overtake_bulk_of_the_same_address(redis_client):
    """A waiting reply goes before bulk to the same buyer."""
    store = await owned(redis_client)
    p = await queue(store, queued("b1", lane="lo"), queued("b2", lane="lo"), queued("r1"))
    assert [c.id for c in await store.pull([(p, "wechat-main", "hi", 10)], now=NOW)] == ["r1"]
    assert await store.pull([(p, "wechat-main", "lo", 10)], now=NOW) == []
    await store.settle([Settlement(p, "r1", 1, "sent")], today=NOW)
    assert [c.id for c in await store.pull([(p, "wechat-main", "lo", 10)], now=NOW)] == ["b1"]


async def test_a_reply_tried_again_keeps_its_place(redis_client):
    """A reply that must be tried again stays before the replies behind it."""
    store = await owned(redis_client)
    p = await queue(store, queued("r1"), queued("r2"))
    await store.pull([(p, "wechat-main", "hi", 1)], now=NOW)
    await store.settle([Settlement(p, "r1", 1, "queued", "no_connection", again_at=NOW + 50)], today=NOW)
    assert await store.pull([(p, "wechat-main", "hi", 10)], now=NOW) == []
    _, hints, _ = await store.pump(now=NOW, real=NOW + 51, left_behind=0)
    [again] = await store.pull([(*h, 10) for h in hints], now=NOW + 51)
    assert (again.id, again.attempt, again.tries) == ("r1", 2, 2)


async def test_in_doubt_frees_the_address_after_a_while_and_is_sent_once_more(redis_client):
    """A reply in doubt holds its address for its time, then goes once more, unless an echo settles it before."""
    store = await owned(redis_client)
    p = await queue(store, queued("r1"), queued("r2"))
    await store.pull([(p, "wechat-main", "hi", 1)], now=NOW)
    doubt = Settlement(p, "r1", 1, "in_doubt", "no_answer", again_at=NOW + 50, hold_until=NOW + 50)
    await store.settle([doubt], today=NOW)
    assert (await store.pump(now=NOW, real=NOW + 10, left_behind=0))[1] == set()

    _, hints, _ = await store.pump(now=NOW, real=NOW + 51, left_behind=0)
    [again] = await store.pull([(*h, 1) for h in hints], now=NOW + 51)
    assert (again.id, again.doubts) == ("r1", 1)


async def test_an_echo_settles_a_doubt(redis_client):
    """After the echo the message is sent; it is not sent again."""
    store = await owned(redis_client)
    p = await queue(store, queued("r1"))
    await store.pull([(p, "wechat-main", "hi", 1)], now=NOW)
    await store.settle([Settlement(p, "r1", 1, "in_doubt", again_at=NOW + 50, hold_until=NOW + 50)], today=NOW)
    [taken], _ = await one_entry(store, digest=b"")
    change = change_of(taken)
    change.statuses.append(StatusChange("ref", "r1", "sent", NOW, ""))
    await store.commit([change], now=NOW)
    _, hints, _ = await store.pump(now=NOW, real=NOW + 51, left_behind=0)
    assert await store.pull([(p, "wechat-main", "hi", 5)], now=NOW + 51) == []
    assert await redis_client.hget(f"msg:{{p{p:02d}}}:r1", "s") == b"sent"


async def test_status_moves_forward_only(redis_client):
    """Read, then a late delivered: it stays read. By provider id and by watermark."""
    store = await owned(redis_client)
    p = await queue(store, queued("r1"), queued("r2", to="oOther"))
    await store.pull([(p, "wechat-main", "hi", 2)], now=NOW)
    await store.settle(
        [
            Settlement(p, "r1", 1, "sent", provider=b"provider", unread=True, at=NOW),
            Settlement(p, "r2", 1, "sent"),
        ],
        today=NOW,
    )
    for change_ in (
        StatusChange("wechat-main:oBuyer1", str(NOW + 1), "read", NOW, ""),
        StatusChange("provider", b"provider", "delivered", NOW, ""),
        StatusChange("ref", "r2", "delivered", NOW, ""),
    ):
        [taken], _ = await one_entry(store, digest=b"")
        change = Change(p, "address:wechat-main:x", "i", "", b"")
        change.statuses.append(change_)
        await store.commit([change, change_of(taken)], now=NOW)
    assert await redis_client.hget(f"msg:{{p{p:02d}}}:r1", "s") == b"read"
    assert await redis_client.hget(f"msg:{{p{p:02d}}}:r2", "s") == b"delivered"


async def test_a_stale_attempt_cannot_settle(redis_client):
    """The outcome of an attempt that was taken over is not written."""
    store = await owned(redis_client)
    p = await queue(store, queued("r1"))
    await store.pull([(p, "wechat-main", "hi", 1)], now=NOW)
    await store.settle([Settlement(p, "r1", 1, "queued", again_at=NOW, reason="no_connection")], today=NOW)
    await store.pump(now=NOW, real=NOW + 1, left_behind=0)
    await store.pull([(p, "wechat-main", "hi", 1)], now=NOW)
    await store.settle([Settlement(p, "r1", 1, "failed", "rejected")], today=NOW)
    assert await redis_client.hget(f"msg:{{p{p:02d}}}:r1", "s") == b"sending"


async def test_sends_left_behind_are_found(redis_client):
    """A claim without an outcome is reported once it is older than lease and time-out."""
    store = await owned(redis_client)
    p = await queue(store, queued("r1"))
    await store.pull([(p, "wechat-main", "hi", 1)], now=NOW)
    assert (await store.pump(now=NOW, real=NOW, left_behind=NOW - 1))[2] == []
    assert (await store.pump(now=NOW, real=NOW, left_behind=NOW + 1))[2] == [(p, "r1")]


async def test_due_timers_enter_the_bulk_lane_once(redis_client):
    """A timer is never early, and fires once."""
    store = await owned(redis_client)
    [taken], _ = await one_entry(store)
    change = change_of(taken)
    change.timers.append(("+", "remind", NOW + 1000))
    await store.commit([change], now=NOW)
    assert (await store.pump(now=NOW + 999, real=NOW, left_behind=0))[0] == 0
    assert (await store.pump(now=NOW + 1000, real=NOW, left_behind=0))[0] == 1
    assert (await store.pump(now=NOW + 1000, real=NOW, left_behind=0))[0] == 0
    [due], _ = await store.take(sorted(store.fences), inbox=10, bulk=10)
    assert (due.subject, due.timer, due.due, due.lane) == (SUBJECT, "remind", NOW + 1000, "b")


async def test_intake_is_refused_whole_when_memory_is_full_and_work_can_finish(valkey, redis_client):
    """At the memory limit appends are refused cleanly; commits still pass, so that the backlog drains."""
    store = await owned(redis_client)
    [taken], _ = await one_entry(store)
    await redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreFullError):
            await store.append([(SUBJECT, b"", b"x" * 1000)])
        [(outcome, _)], _ = await store.commit([change_of(taken, record=b"r")], now=NOW)
    finally:
        await redis_client.config_set("maxmemory", 0)
    assert outcome is Commit.DONE


async def test_the_rate_is_shared_by_all_processes(redis_client):
    """Two processes together get what the rate allows, no more."""
    one, two = Store(redis_client, 64, "one"), Store(redis_client, 64, "two")
    given = [await store.allowance("a", 100, 1.0) for store in (one, two, one)]
    assert sum(n for n, _ in given) <= 2
    assert given[-1][0] == 0
    assert 0 < given[-1][1] <= 2000


async def test_what_was_taken_beyond_the_given_is_paid_first(redis_client):
    """A text of three parts takes three units: the next one is given only when all three have been earned."""
    store = Store(redis_client, 4, "one")
    began = time.monotonic()
    assert (await store.allowance("a", 1, 10.0))[0] == 1
    given, wait = await store.allowance("a", 1, 10.0, owed=2)
    assert given == 0
    assert 250 - 1000 * (time.monotonic() - began) <= wait <= 300
    await asyncio.sleep(wait / 1000 + 0.005)
    assert (await store.allowance("a", 1, 10.0))[0] == 1


@pytest.mark.parametrize(("ahead_s", "given"), [(3600, 1), (60, 0)])
async def test_a_clock_that_was_put_back_silences_no_account(redis_client, ahead_s, given):
    """The rate's time is the server's: an hour ahead of it is no debt, and nothing would go for an hour; a minute's may be one."""
    store = Store(redis_client, 4, "one")
    await redis_client.set(keys.rate("a"), int((time.time() + ahead_s) * 1_000_000))
    assert (await store.allowance("a", 1, 10.0))[0] == given


async def test_a_repeat_is_seen_though_the_clock_was_put_back_over_midnight(redis_client):
    """Its digest stands with the day that was today: a new owner looks there too, and goes on to."""
    store, midnight = await owned(redis_client), 20_000 * DAY_MS
    [first], _ = await one_entry(store)
    await store.commit([change_of(first)], now=midnight)
    store.seen_days.clear()
    await store.learn_days(store.fences, midnight - 1)
    [again], _ = await one_entry(store)
    [other], _ = await one_entry(store, digest=b"abcdefgh")
    await store.commit([change_of(other)], now=midnight - 1)
    [still], _ = await one_entry(store)
    assert (first.seen, again.seen, other.seen, still.seen) == (False, True, False, True)


async def test_a_stream_that_is_written_anew_holds_nothing_of_what_was_deleted(valkey, redis_client):
    """Ids, order and the last id ever given stay; a stream without deletions, an empty or a long one is left alone."""
    store, name = Store(redis_client, 8, "test"), keys.journal(3)
    words = [os.urandom(64) for _ in range(5)]  # what does not get smaller lies there as it is
    for n, word in enumerate(words, 1):
        await redis_client.xadd(name, {"k": "turn", "b": word}, id=f"{n}-{n}")
    await redis_client.xdel(name, "2-2", "5-5")

    async def lies(word: bytes) -> bool:
        dumped = await redis_client.dump(name)
        return any(word[at : at + 8] in dumped for at in range(56))

    assert all([await lies(word) for word in words])
    before = await redis_client.xrange(name)
    assert not await store.scripts.run("rewrite_stream", [name], [2])
    assert await store.scripts.run("rewrite_stream", [name], [10])
    assert [await lies(word) for word in words] == [True, False, True, True, False]
    assert await redis_client.xrange(name) == before
    assert (await redis_client.xinfo_stream(name))["last-generated-id"] == b"5-5"
    assert not await store.scripts.run("rewrite_stream", [name], [10])
    await redis_client.xdel(name, "1-1", "3-3", "4-4")
    assert not await store.scripts.run("rewrite_stream", [name], [10])
    assert not await store.scripts.run("rewrite_stream", [keys.journal(4)], [10])
