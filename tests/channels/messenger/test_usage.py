"""What Meta says of its allowance, to what we leave of our rate."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.accounts import EASED_S, Line
from bot.http import PyreqwestHttp
from bot.messages import Text
from bot.ports import HttpResponse
from channels.messenger.usage import share_of_rate
from tests.channels.messenger.cases import CASE, outbound
from tests.contracts.channel import build
from tests.contracts.fake import Provider, reply


def answered(app: object = None, business: object = None) -> HttpResponse:
    headers = {}
    if app is not None:
        headers["x-app-usage"] = app if isinstance(app, str) else json.dumps(app)
    if business is not None:
        headers["x-business-use-case-usage"] = business if isinstance(business, str) else json.dumps(business)
    return HttpResponse(200, headers, b"{}")


@pytest.mark.parametrize(
    ("app", "business", "share"),
    [
        (None, None, 1.0),
        ({"call_count": 31, "total_cputime": 12, "total_time": 19}, None, 1.0),
        ({"call_count": 75}, None, 1.0),
        ({"call_count": 85}, None, 0.5),
        ({"call_count": 10, "total_time": 85}, None, 0.5),
        ({"call_count": 10}, {"1": [{"type": "messenger", "call_count": 85}]}, 0.5),
        ({"call_count": 94.9}, None, 0.05),
        ({"call_count": 95}, None, 0.0),
        (None, {"1": [{"call_count": 3}], "2": [{"total_cputime": 140}]}, 0.0),
        ("not JSON", "[1]", 1.0),
        ({"call_count": "99"}, {"1": 7, "2": [8, None]}, 1.0),
        ({"call_count": True}, None, 1.0),
    ],
)
def test_slow_from_75_stop_at_95(app, business, share):
    assert share_of_rate(answered(app, business)) == pytest.approx(share)


@given(st.text(max_size=60), st.text(max_size=60))
def test_whatever_stands_there_is_a_share(app, business):
    assert 0 <= share_of_rate(answered(app, business)) <= 1


async def test_a_send_brings_it():
    """In the answer to each accepted piece; the last one counts."""
    http = PyreqwestHttp(timeout_s=0.5)
    used = reply({"recipient_id": "1", "message_id": "m_out1"}, X_App_Usage=json.dumps({"call_count": 85}))
    async with Provider([used]) as provider:
        receipt = await build(CASE, http, api_base=provider.url).send(outbound(Text("hello")))
    await http.close()
    assert receipt.share_of_rate == pytest.approx(0.5)


class Watch:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_a_line_follows_for_a_minute():
    """Half the rate at half the share; a stop, then a twentieth; the full rate when the provider says so or nothing more."""
    watch = Watch()
    line = Line(None, watch, per_second=30)
    line.ease(0.5)
    assert (line.per_second, line.room()) == (15, 64)
    line.ease(1.0)
    assert line.per_second == 30
    line.ease(0.5)
    watch.now += EASED_S
    assert line.per_second == 30
    line.ease(0.0)
    assert line.room() == 0
    watch.now += EASED_S
    assert (line.room(), line.per_second) == (64, 1.5)
    watch.now += EASED_S
    assert line.per_second == 30
