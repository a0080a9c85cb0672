"""The contract, bad input: whatever is sent, the answer is a problem that says what is wrong, soon, and never a 5xx."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.console.served import Served, until

FORM = "Content-Type: application/x-www-form-urlencoded"
PREVIEW = b'{"where": {"all": []}}'


def sent(gw: Served, raw: bytes) -> tuple[int, str, bytes, float]:
    """Status, content type and body of the answer to raw bytes, and how long it took."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", gw.port), timeout=20) as connection:
        connection.sendall(raw)
        head, body = b"", b""
        with connection.makefile("rb") as answer:
            while (line := answer.readline()).strip():
                head += line
            length = next(int(v) for k, _, v in fields(head) if k == b"content-length")
            body = answer.read(length)
    kind = next(value.decode() for name, _, value in fields(head) if name == b"content-type")
    return int(head.split()[1]), kind.partition(";")[0], body, time.monotonic() - began


def fields(head: bytes) -> list[tuple[bytes, bytes, bytes]]:
    parts = (line.partition(b": ") for line in head.splitlines()[1:])
    return [(name.lower(), colon, value) for name, colon, value in parts]


def request(gw: Served, target: str, *headers: str, body: bytes = b"", token: bool = True) -> bytes:
    lines = [target + " HTTP/1.1", f"Host: 127.0.0.1:{gw.port}", *headers]
    if token:
        lines.append(f"Authorization: Bearer {gw.token()}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


JSON = "Content-Type: application/json"
PATH = "POST /api/v1/segments/preview"


@pytest.mark.parametrize("path", [PATH, "POST /sandbox/clock"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_encoded_body_is_refused(gw: Served, path: str, encoding: str) -> None:
    length = f"Content-Length: {len(PREVIEW)}"
    raw = request(gw, path, JSON, f"Content-Encoding: {encoding}", length, body=PREVIEW)
    status, kind, body, _ = sent(gw, raw)
    assert (status, kind) == (415, "application/problem+json"), body
    assert "Content-Encoding" in json.loads(body)["detail"]


def test_a_body_that_does_not_come_is_not_waited_for(gw: Served) -> None:
    status, kind, body, took = sent(gw, request(gw, PATH, JSON, "Content-Length: 1000", body=PREVIEW))
    assert (status, kind) == (400, "application/problem+json")
    assert "5 seconds" in json.loads(body)["detail"]
    assert took < 15


@pytest.mark.parametrize(
    "headers",
    [
        ["Content-Length: -1"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 99999999999999999999"],
        ["Transfer-Encoding: chunked"],
        [f"X-Long: {'secret' * 2000}"],
        ["bad header"],
    ],
)
def test_what_is_no_http_is_a_problem_that_quotes_nothing(gw: Served, headers: list[str]) -> None:
    status, kind, body, _ = sent(gw, request(gw, PATH, JSON, *headers, body=b"secret"))
    assert (status, kind) == (400, "application/problem+json"), body
    found = json.loads(body)
    assert found["status"] == 400
    assert found["type"].endswith("#bad-request")
    assert "secret" not in found["detail"]


def test_a_token_of_any_bytes_is_no_token(gw: Served) -> None:
    for value in ("Bearer \xff\xfe", "Bearer \xe4\xbd\xa0", "Bearer ", "\xff"):
        raw = request(gw, "GET /api/v1/campaigns", f"Authorization: {value}", token=False)
        status, kind, body, _ = sent(gw, raw)
        assert (status, kind) == (401, "application/problem+json"), body


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([FORM], b"token=\xff\xfe"),
        ([FORM + "; charset=nothing"], b"token=%ff"),
        (["Content-Type: multipart/form-data"], b"--x--"),
        ([FORM, "Content-Encoding: gzip"], b"token=x"),
        ([FORM], b"token=" + b"x" * 20_000),
    ],
)
def test_a_sign_in_form_that_cannot_be_read_is_a_page(gw: Served, headers: list[str], body: bytes) -> None:
    here = f"Origin: http://127.0.0.1:{gw.port}"
    raw = request(gw, "POST /console/sign-in", here, *headers, f"Content-Length: {len(body)}", body=body, token=False)
    status, kind, _, _ = sent(gw, raw)
    assert 400 <= status < 500
    assert kind == "text/html"


def test_a_key_belongs_to_its_query_too(gw: Served) -> None:
    """The same key with another query is another request: it is not answered with the first one's answer."""
    one = gw.api("PUT", "/products/key-1?shop=main", {"title": "大衣"}, Idempotency_Key="query-1")
    assert one.status == 201
    again = gw.api("PUT", "/products/key-1?shop=main", {"title": "大衣"}, Idempotency_Key="query-1")
    assert again.raw == one.raw
    other = gw.api("PUT", "/products/key-1", {"title": "大衣"}, Idempotency_Key="query-1")
    assert (other.status, other.kind) == (409, "key-reused")


def test_control_characters_are_refused_and_line_breaks_kept(gw: Served) -> None:
    message = {"phone": "+8613900003301", "purpose": "service"}
    for text in ("a\x07b", "a\x1b[31mb", "a\x00b", "a\x7fb", "a\x85b"):
        answer = gw.api("POST", "/messages", {**message, "text": text})
        assert (answer.status, answer.kind, answer.fields) == (400, "bad-body", {"text"})
    kept = gw.api("POST", "/messages", {**message, "text": "第一行\n第二行"})
    assert kept.status == 202
    assert gw.get(f"/messages/{kept.json['id']}")["text"].endswith("第一行\n第二行")


@pytest.mark.parametrize(
    "wording", ["cart_1", "cart_2", "cart_3", "review_invite", "coupon_expiring", "coupon_next", "stock_back"]
)
def test_marketing_words_are_no_notice(gw: Served, wording: str) -> None:
    """Words that are marketing by themselves do not reach somebody without an opt-in by calling them service."""
    needs = {"coupon_expiring": {"code": "K7QF2M9PXWT4"}, "coupon_next": {"campaign": "RACE50"}}
    body = {"phone": "+8613900003302", "purpose": "service", "wording": wording, "vars": needs.get(wording, {})}
    answer = gw.api("POST", "/messages", body)
    assert (answer.status, answer.kind) == (400, "bad-body")
    assert answer.fields <= {"purpose", "vars"}  # a list of sizes cannot be given by text at all
    assert gw.get("/buyers", phone="+8613900003302")["items"] == []
    if answer.fields == {"purpose"}:
        asked = gw.api("POST", "/messages", {**body, "phone": "+8613900003303", "purpose": "marketing"})
        assert asked.status == 202
        found = gw.get(f"/messages/{asked.json['id']}")
        assert (found["state"], found["reason"]) in (("skipped", "no_consent"), ("skipped", "window_closed"))


@pytest.mark.parametrize(
    ("verb", "given", "field"),
    [
        ("place", {"total": 5}, "order.total"),
        ("place", {"total": {"amount": "x", "currency": "CNY"}}, "order.total.amount"),
        ("place", {"items": "x"}, "order.items"),
        ("place", {"buyer": 5}, "buyer"),
        ("abandon", {"buyer": 5}, "buyer"),
    ],
)
def test_facts_that_the_gateway_refuses_are_the_askers(gw: Served, verb: str, given: dict, field: str) -> None:
    """The simulated shop tells who asked which fact was refused, and keeps no order of it."""
    before = gw.sandbox("GET", "/state.json").json["shops"]["main"]
    answer = gw.sandbox("POST", f"/shops/main/{verb}", given)
    assert answer.status == 400, answer.raw
    assert {name.removeprefix("data.") for name in answer.fields} == {field}
    assert gw.sandbox("GET", "/state.json").json["shops"]["main"] == before


def test_the_sandbox_s_lists_are_paged(gw: Served) -> None:
    phone = gw.phone("messenger-main", "7760001")
    for _ in range(3):
        gw.say("messenger-main", "帮助", "7760001")
    until(lambda: len(gw.sandbox("GET", phone + "/messages").json["items"]) >= 6, 20, "an answer to each")
    whole = gw.sandbox("GET", phone + "/messages").json["items"]
    whole = whole[:4]
    seen, cursor = [], ""
    while len(seen) < len(whole):
        page = gw.sandbox("GET", f"{phone}/messages?limit=1&cursor={cursor}").json
        assert len(page["items"]) == 1
        seen += page["items"]
        cursor = page["next_cursor"]
    assert [one["n"] for one in seen] == [one["n"] for one in whole]
    assert len(gw.sandbox("GET", "/ledger/messenger-main?limit=1").json["items"]) == 1
    for query in ("limit=0", "limit=x", "cursor=x", "limit=-1"):
        answer = gw.sandbox("GET", f"{phone}/messages?{query}")
        assert (answer.status, answer.fields) == (400, {query.partition("=")[0]})
