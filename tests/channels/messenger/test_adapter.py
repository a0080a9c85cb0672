"""What is Messenger's alone: several pages on one address, pieces of a text, the check."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest

from bot.errors import AccountError, ContentError, InDoubtError
from bot.events import MessageReceived, StaffReleased, StaffTook
from bot.http import PyreqwestHttp
from bot.messages import Button, Card, Choice, OrderReceipt, Picture, ReceiptLine, Text
from channels.messenger import TYPE
from channels.messenger.wire import COUNTED, SUBSCRIBED_FIELDS, is_phone, ours, time_of
from tests.channels.messenger.cases import (
    ACCEPTED,
    CASE,
    FIXTURES,
    LONG,
    OUR_ID,
    OWN_APP,
    PAGE,
    SECRET,
    V2,
    again,
    control,
    failing,
    handshake,
    item,
    message,
    outbound,
    posted,
    sign,
)
from tests.contracts.channel import NAME, NoHttp, build, configured, request, toolkit
from tests.contracts.fake import Provider, Reply, reply


def _two_pages(body: bytes):
    siblings = {
        NAME: configured(CASE),
        "second": configured(CASE, page_id="222", app_secret=["other-old", SECRET]),
        "stranger": configured(CASE, page_id="333", app_secret="another-app-secret"),
    }
    channel = TYPE.build(NAME, siblings[NAME], toolkit(NoHttp(), siblings))
    return channel.parse(channel.verify(sign(body, SECRET)))


def test_entries_go_to_the_accounts_they_name():
    """Pages of the same app only: a page of another app's account, or of none, is counted."""
    entries = [
        {
            "id": page,
            "time": 1767225600123,
            "messaging": [message(mid=f"m_{page}", text=page) | {"recipient": {"id": page}}],
        }
        for page in ("222", PAGE, "333", "444", "222")
    ]
    parsed = _two_pages(json.dumps({"object": "page", "entry": entries}).encode())

    assert [event.account for event in parsed.events] == ["second", NAME, "second"]
    assert [event.subject.split(":")[1] for event in parsed.events] == ["second", NAME, "second"]
    assert list(parsed.ignored) == ["page that is not configured"] * 2


def test_the_same_mid_on_two_pages_is_two_events():
    """Meta does not promise that mids differ between pages: ids are scoped."""
    entries = [
        {"id": page, "messaging": [message(mid="m_1", text="x") | {"recipient": {"id": page}}]}
        for page in (PAGE, "222")
    ]
    parsed = _two_pages(json.dumps({"object": "page", "entry": entries}).encode())

    assert len({event.id for event in parsed.events}) == 2


def test_what_meta_escaped_is_read():
    """The signed form, with escapes and a surrogate pair."""
    channel = build(CASE)
    parsed = channel.parse(channel.verify(sign(V2, SECRET)))

    assert parsed.events[0].body == MessageReceived("café 会员日 🎁 https://shop.example/d?c=1")


def test_every_kind_that_is_counted_has_a_fixture():
    """And the other way round: a kind without a recorded body is a guess."""
    counted = {label for fixture in FIXTURES for label in fixture.ignored}

    assert set(COUNTED) <= counted


@pytest.mark.parametrize("mode", ["", "unsubscribe", None])
def test_a_handshake_that_is_no_subscription_is_refused(mode):
    """The right token alone is not enough."""
    good = handshake("verify-me-7391")
    query = [(name, value) for name, value in good.query if name != "hub.mode"]
    wrong = request(method="GET", query=query if mode is None else [("hub.mode", mode), *query])
    with pytest.raises(Exception, match="does not match"):
        build(CASE).challenge(wrong)


@pytest.fixture
async def http():
    client = PyreqwestHttp(timeout_s=0.5)
    yield client
    await client.close()


@pytest.mark.parametrize("second", [failing(10, 2018278), failing(613), Reply(fault="close"), failing(190)])
async def test_a_piece_refused_after_an_accepted_one_is_in_doubt(http, second):
    """The buyer has read the beginning: whether to repeat is decided by purpose, as for any doubt."""
    async with Provider([ACCEPTED, second]) as provider:
        with pytest.raises(InDoubtError):
            await build(CASE, http, api_base=provider.url).send(outbound(Text(LONG)))

    assert len(provider.got) == 2


async def test_the_first_piece_refused_is_a_refusal(http):
    """Nothing was taken: the error stays what it is, and the other pieces are not sent."""
    async with Provider([failing(190)]) as provider:
        with pytest.raises(AccountError):
            await build(CASE, http, api_base=provider.url).send(outbound(Text(LONG)))

    assert len(provider.got) == 1


async def test_an_echo_of_each_piece_settles_only_at_the_last(http):
    """What goes out as metadata is what the reader knows as ours."""
    async with Provider([ACCEPTED]) as provider:
        await build(CASE, http, api_base=provider.url).send(outbound(Text(LONG)))
        sent = [got.json["message"]["metadata"] for got in provider.got]

    assert all(ours(one) for one in sent)
    assert sent[-1] == OUR_ID
    assert all(one != OUR_ID for one in sent[:-1])


def test_ids_of_other_systems_are_not_ours():
    """Meta's own message ids begin like ours."""
    assert not any(
        ours(one) for one in ("", "m_1", "outbox:8841", "m_" + "a" * 40, OUR_ID + "/", OUR_ID + "\n", OUR_ID.upper())
    )


@pytest.mark.parametrize("purpose", ["reply", "code", "service", "marketing"])
async def test_messaging_type_follows_the_purpose(http, purpose):
    """RESPONSE for what the buyer waits for."""
    async with Provider([ACCEPTED]) as provider:
        await build(CASE, http, api_base=provider.url + "/").send(again(CASE.message, purpose=purpose))

    expected = "RESPONSE" if purpose in ("reply", "code") else "UPDATE"
    assert provider.got[0].json["messaging_type"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1767225600123, 1767225600123),
        (1767225600, 1767225600000),
        ("1767225600", 1767225600000),
        ("1767225600123", 1767225600123),
        (0, 0),
        (-5, 0),
        (True, 0),
        (1.5e12, 0),
        ("x", 0),
        ("١٢٣", 0),
        (10**30, 0),
        (4_102_444_800_000, 0),
        (None, 0),
        ([], 0),
    ],
)
def test_times(value, expected):
    """Milliseconds, seconds, strings; nonsense is no time."""
    assert time_of(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+886912345678", True),
        ("0912 345 678", True),
        ("+1 (415) 555-0100", True),
        ("12345", False),
        ("+", False),
        ("COLOR:RED", False),
        ("9" * 16, False),
        ("+886912345678\n", False),
        ("ann@shop.example", False),
    ],
)
def test_phones(text, expected):
    """Only what a phone's app would hand over."""
    assert is_phone(text) is expected


# --- check ------------------------------------------------------------------------------------------------------------


def _apps(*fields: str, app: str = OWN_APP):
    return reply({"data": [{"id": "1", "subscribed_fields": ["feed"]}, {"id": app, "subscribed_fields": list(fields)}]})


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (_apps(*SUBSCRIBED_FIELDS, "feed"), "page Tea House answers; webhooks are subscribed"),
        (_apps(*SUBSCRIBED_FIELDS[1:]), "page Tea House answers; webhooks lack messages"),
        (_apps(*SUBSCRIBED_FIELDS, app="9"), "page Tea House answers; no webhooks: subscribe the app to the page"),
        (failing(10), "page Tea House answers; its webhook subscriptions could not be read"),
        (Reply(500, b"<html>"), "page Tea House answers; its webhook subscriptions could not be read"),
        (reply({"data": 7}), "page Tea House answers; no webhooks: subscribe the app to the page"),
    ],
)
async def test_check_says_what_is_wrong(http, second, words):
    """The page's name, and what the webhooks lack."""
    page = reply({"id": PAGE, "name": "Tea\n House"})
    async with Provider([page, second, page]) as provider:
        assert await build(CASE, http, api_base=provider.url).check() == words

    assert [got.target.partition("&")[0] for got in provider.got] == [
        f"/v26.0/{PAGE}?fields=id,name",
        f"/v26.0/{PAGE}/subscribed_apps",
        f"/v26.0/{PAGE}?fields=id",
    ]
    assert all("EAA" not in got.target for got in provider.got)


@pytest.mark.parametrize(
    ("version", "days_before", "words"),
    [("v21.0", 91, ""), ("v21.0", 90, "ends on 2027-01-21"), ("v21.0", -1, "ended on 2027-01-21"), ("v26.0", -999, "")],
)
async def test_check_warns_before_a_graph_version_ends(http, version, days_before, words):
    """Three months ahead, and after the end; a version without an announced end is quiet."""
    at = datetime(2027, 1, 21, 12, tzinfo=UTC) - timedelta(days=days_before)
    channel = build(CASE, http, graph_version=version)
    channel._clock = SimpleNamespace(real=lambda: int(at.timestamp() * 1000))
    said = channel._version_ends()
    assert words in said
    assert bool(words) is bool(said)


async def test_check_with_a_dead_token_is_the_accounts_fault(http):
    """Said before anything is sent."""
    async with Provider([failing(190, 463, 401)]) as provider:
        with pytest.raises(AccountError):
            await build(CASE, http, api_base=provider.url).check()


# --- edges ------------------------------------------------------------------------------------------------------------


def _parsed(*items, **changes):
    channel = build(CASE, **changes)
    return channel.parse(channel.verify(sign(posted(*items), SECRET)))


@pytest.mark.parametrize(
    ("kind", "owner", "expected"),
    [
        ("take", "4711", StaffTook("app 4711")),
        ("take", None, StaffTook("page inbox")),
        ("take", "263902037430900", StaffTook("page inbox")),
        ("pass", "4711", StaffReleased("page inbox")),
        ("pass", None, StaffReleased("page inbox")),
        ("pass", "263902037430900", StaffTook("page inbox")),
    ],
)
def test_without_an_app_id_a_take_is_theirs_and_a_pass_ours(kind, owner, expected):
    """But for the page inbox, which is never ours."""
    parsed = _parsed(control(f"{kind}_thread_control", new_owner_app_id=owner), app_id="")

    assert [event.body for event in parsed.events] == [expected]


@pytest.mark.parametrize(
    ("id", "good"),
    [
        ("7", True),
        ("u" * 64, True),
        (7001, True),
        ("u" * 65, False),
        ("a b", False),
        ("a\n", False),
        ("", False),
        (None, False),
        (PAGE, False),
    ],
)
def test_an_id_that_could_be_no_buyers_makes_no_event(id, good):
    """Addresses are keys and log fields elsewhere."""
    parsed = _parsed(message(mid="m_1", text="x") | {"sender": {"id": id}, "recipient": {"id": PAGE}})

    assert (len(parsed.events), list(parsed.ignored)) == ((1, []) if good else (0, ["item without a buyer"]))


async def test_limits_are_met_exactly(http):
    """A payload of 1000, a title and words of 80 characters, a text of 1900 and one of 640 under a button pass whole."""
    texts = (
        Text("Which?", choices=(Choice("p" * 1000, "x" * 20),)),
        Card("T" * 80, "W" * 80),
        Text("x" * 1900),
        Text("x" * 640, buttons=(Button("y" * 20, "https://shop.example"),)),
        OrderReceipt("1", "A", "USD", "9999999999999", (), "x"),
    )
    async with Provider([ACCEPTED]) as provider:
        for content in texts:
            await build(CASE, http, api_base=provider.url).send(outbound(content))
        sent = [got.json["message"] for got in provider.got]

    assert len(sent) == len(texts)
    assert sent[0]["quick_replies"] == [{"content_type": "text", "title": "x" * 20, "payload": "p" * 1000}]
    assert sent[1]["attachment"]["payload"]["elements"] == [{"title": "T" * 80, "subtitle": "W" * 80}]
    assert sent[2]["text"] == "x" * 1900
    assert sent[3]["attachment"]["payload"]["text"] == "x" * 640
    assert sent[3]["attachment"]["payload"]["buttons"][0]["title"] == "y" * 20


async def test_a_receipt_of_many_lines_shows_the_first_hundred(http):
    """Meta's limit; the total is the order's own."""
    lines = tuple(ReceiptLine(f"Tea {number}", 1, "1.00") for number in range(101))
    async with Provider([ACCEPTED]) as provider:
        await build(CASE, http, api_base=provider.url).send(outbound(OrderReceipt("1", "A", "USD", "101", lines, "x")))

    payload = provider.got[0].json["message"]["attachment"]["payload"]
    assert len(payload["elements"]) == 100
    assert payload["summary"] == {"total_cost": 101.0}


def test_places_off_the_earth_are_no_places():
    """Coordinates are shown to staff."""
    places = [
        {"lat": 180, "long": -180},
        {"lat": 181, "long": 0},
        {"lat": True, "long": 0},
        {"lat": "1", "long": 2},
        {},
    ]
    attachments = [{"type": "location", "payload": {"coordinates": place}} for place in places]
    body = _parsed(message(mid="m_1", attachments=attachments)).events[0].body

    assert isinstance(body, MessageReceived)
    assert [media.ref for media in body.media] == ["180,-180", "", "", "", ""]


def test_a_message_without_an_id_is_not_lost():
    """Its repeats are recognised by buyer, time and words."""
    first, other = _parsed(message(text="x")), _parsed(message(text="y"))

    assert first.events == _parsed(message(text="x")).events
    assert first.events[0].id != other.events[0].id


def test_two_buyers_with_the_same_link_at_the_same_time_are_two_events():
    """Ids are unique within a partition, where many buyers live."""
    both = [item(optin={"ref": "c"}) | {"sender": {"id": id}} for id in ("71", "72")]
    both += [item(referral={"ref": "c"}) | {"sender": {"id": id}} for id in ("71", "72")]
    parsed = _parsed(*both)

    assert len({event.id for event in parsed.events}) == 4


def test_an_opt_in_token_is_not_kept():
    """It lets its holder write to the buyer; events are kept for ever."""
    optin = {
        "type": "notification_messages",
        "notification_messages_token": "SECRET-TOKEN",
        "notification_messages_status": "STOP NOTIFICATIONS",
    }

    assert "SECRET-TOKEN" not in repr(_parsed(item(optin=optin)))


@pytest.mark.parametrize("qr", ["7", "801234567890"])
async def test_a_short_code_is_drawn_as_a_full_qr_code(http, qr):
    """Phones do not read Micro QR: even one digit has 21 modules a side and more."""
    async with Provider([ACCEPTED]) as provider:
        await build(CASE, http, api_base=provider.url).send(outbound(Picture(qr, "alt")))

    png = provider.got[0].body.partition(b"\x89PNG\r\n\x1a\n")[2]
    side = int.from_bytes(png[8:12], "big")
    assert side >= (21 + 8) * 8


async def test_calls_carry_the_apps_proof_where_it_is_asked_for(http):
    """The published proof of secret and token, on sends and checks alike; without the setting there is none."""
    for wanted, query in (
        (True, {"appsecret_proof": "1eb5627c087c083b2fc75e037a3e72f102cf1c1ba08fe0e5749c1c0d7f61ab9f"}),
        (False, {}),
    ):
        async with Provider([ACCEPTED]) as provider:
            await build(CASE, http, api_base=provider.url, appsecret_proof=wanted).send(CASE.message)
        assert dict(parse_qsl(urlsplit(provider.got[0].target).query)) == query


async def test_an_error_names_metas_trace_and_nothing_else(http):
    """What Meta's support asks for is kept; the words of the error, which may quote the text, are not."""
    answer = {"error": {"code": 100, "message": "bad: Order 1009 packed", "fbtrace_id": "Axy_1-b"}}
    async with Provider([reply(answer, 400)]) as provider:
        with pytest.raises(ContentError) as caught:
            await build(CASE, http, api_base=provider.url).send(CASE.message)
    assert "Axy_1-b" in str(caught.value)
    assert "1009" not in str(caught.value)
    assert caught.value.alert
