"""The contract, what holds for every call: tokens, roles, idempotency, paging, limits, problems, OpenAPI."""

from __future__ import annotations

import http.client
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from urllib.parse import quote

import pytest

from console.api.http import ROLES, Route
from console.api.routes import LATER, ROUTES
from tests.console.served import Served, until

CAMPAIGN = {"title": "满300减50", "kind": "amount_off", "value": "50.00", "stock": 50}


def fill(path: str) -> str:
    return re.sub(r"{\w+}", "nothing", path)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_each_operation_wants_a_token_and_a_role(gw: Served, route) -> None:
    """401 without a token or with a wrong one, 403 for each role that may not, and not 401 or 403 for one that may."""
    path = fill(route.path)
    body = b"{}" if route.body or route.raw_body else None
    for header in ({}, {"Authorization": "Bearer tp_wrong"}, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}):
        answer = gw.raw(route.method, "/api/v1" + path, body, header)
        assert (answer.status, answer.kind) == (401, "no-token")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    for role, may in ROLES.items():
        answer = gw.api(route.method, path, body, role=role)
        if route.may in may:
            assert answer.status not in (401, 403), (role, answer.raw)
        else:
            assert (answer.status, answer.kind) == (403, "not-allowed")


def test_who_may_what() -> None:
    """read-only reads; service serves buyers; marketing makes campaigns; the owner exports, merges and erases."""
    may = {role: {r.path for r in ROUTES if r.may in able and r.method != "GET"} for role, able in ROLES.items()}
    assert may["read-only"] == {"/segments/preview", "/broadcasts/preview"}  # questions, though they have a body
    assert "/campaigns" not in may["service"]
    assert {"/messages", "/coupons/{code}/redeem", "/tasks/{id}/complete", "/events"} <= may["service"]
    assert "/campaigns" in may["marketing"]
    assert "/buyers/{id}/merge" not in may["marketing"]
    assert "/buyers/{id}/merge" in may["owner"]
    owners = {(r.method, r.path) for r in ROUTES if r.may == "owner"}
    buyers = {("DELETE", "/buyers/{id}"), ("GET", "/buyers/{id}/export"), ("POST", "/buyers/{id}/merge")}
    assert owners == {*buyers, ("GET", "/reports/consents")}


def test_service_may_not_send_marketing(gw: Served) -> None:
    answer = gw.api(
        "POST", "/messages", {"phone": "+8613900001111", "purpose": "marketing", "text": "x"}, role="service"
    )
    assert (answer.status, answer.kind) == (403, "not-allowed")


def test_the_same_key_gives_the_same_answer(gw: Served) -> None:
    """The same key and body: one effect and the same answer, however the JSON is spaced; another body: 409."""
    body = {"key": "IDEM1", **CAMPAIGN}
    first = gw.api("POST", "/campaigns", body, Idempotency_Key="idem-1")
    again = gw.api("POST", "/campaigns", body, Idempotency_Key="idem-1")
    assert (first.status, first.json) == (again.status, again.json)
    assert first.status == 201
    other = gw.api("POST", "/campaigns", {**body, "stock": 51}, Idempotency_Key="idem-1")
    assert (other.status, other.kind) == (409, "key-reused")
    assert gw.api("POST", "/campaigns", body, Idempotency_Key="idem-2").kind == "key-taken"


def test_a_key_is_its_callers_and_its_operations(gw: Served) -> None:
    """Another token, method or path is another call under the same key; a read is answered anew; names in any order are the same body."""
    body = {"key": "IDEM6", **CAMPAIGN}
    first = gw.api("POST", "/campaigns", body, Idempotency_Key="idem-6")
    assert first.status == 201
    turned = gw.api("POST", "/campaigns", dict(reversed(body.items())), Idempotency_Key="idem-6")
    assert (turned.status, turned.json) == (201, first.json)
    assert gw.api("POST", "/campaigns", body, role="marketing", Idempotency_Key="idem-6").kind == "key-taken"
    path = "/campaigns/IDEM6"
    assert gw.api("PATCH", path, {"stock": 60}, Idempotency_Key="idem-6").status == 200
    for stock in (61, 62):
        assert gw.api("GET", path, Idempotency_Key="idem-6").json["stock"] == stock - 1
        assert gw.api("PATCH", path, {"stock": stock}).status == 200
    assert gw.api("PATCH", path, {"stock": 60}, Idempotency_Key="idem-6").json["stock"] == 60
    assert gw.get(path)["stock"] == 62
    assert gw.api("DELETE", "/products/idem?shop=main", Idempotency_Key="idem-7").status == 404
    assert gw.api("DELETE", "/products/idem", Idempotency_Key="idem-7").kind == "key-reused"
    product = {"title": "衬衫", "variants": []}
    assert gw.api("PUT", "/products/idem?shop=main", product, Idempotency_Key="idem-7").status == 201
    assert gw.api("DELETE", "/products/idem?shop=main").status == 200
    segment = gw.api("POST", "/segments", {"name": "idem", "where": {"all": []}}, Idempotency_Key="idem-6")
    assert segment.status == 201
    assert gw.api("DELETE", f"/segments/{segment.json['id']}").status == 200


def test_a_refusal_is_kept_too(gw: Served) -> None:
    """The answer under a key does not change with what happens later."""
    claim = {"buyer": gw.buyer("messenger-main", "8801")["id"]}
    gw.api("POST", "/campaigns", {"key": "IDEM3", **CAMPAIGN, "stock": 0})
    path = "/campaigns/IDEM3/claims"
    assert gw.api("POST", path, claim, Idempotency_Key="idem-3").kind == "sold-out"
    assert gw.api("PATCH", "/campaigns/IDEM3", {"stock": 5}).status == 200
    assert gw.api("POST", path, claim, Idempotency_Key="idem-3").kind == "sold-out"
    assert gw.api("POST", path, claim).status == 201


def test_two_at_once_under_one_key(gw: Served) -> None:
    """Of many calls at the same moment one acts; all give its answer."""
    body = {"phone": "+8613900002222", "purpose": "service", "text": "您的衬衫到店了"}
    gw.token()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(gw.api, "POST", "/messages", body, Idempotency_Key="idem-4") for _ in range(16)]
        answers = {(call.result().status, call.result().raw) for call in calls}
    assert len(answers) == 1
    assert answers.pop()[0] == 202
    buyer = gw.get("/buyers", phone="+8613900002222")["items"][0]
    assert len(gw.get("/messages", buyer=buyer["id"])["items"]) == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 201])
def test_a_bad_key_is_refused(gw: Served, key: str) -> None:
    answer = gw.api("POST", "/campaigns", {"key": "IDEM5", **CAMPAIGN}, Idempotency_Key=key)
    assert (answer.status, answer.kind) == (400, "bad-parameter")


LISTS = ["/campaigns", "/buyers", "/members", "/messages", "/decisions", "/tasks", "/orders"]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("limit", ["0", "-1", "201", "1.5", "x", "", "99999999999", "５"])
def test_limits_outside_their_bounds(gw: Served, path: str, limit: str) -> None:
    answer = gw.api("GET", f"{path}?limit={quote(limit)}")
    assert (answer.status, answer.kind, answer.fields) == (400, "bad-parameter", {"limit"})


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("query", ["cursor=nonsense", "colour=red", "limit=5&limit=6"])
def test_parameters_that_cannot_be(gw: Served, path: str, query: str) -> None:
    answer = gw.api("GET", f"{path}?{query}")
    assert (answer.status, answer.kind) == (400, "bad-parameter")
    assert answer.fields == {query.partition("=")[0]}


def same(gw: Served, one: str, other: str) -> bool:
    return gw.get(one) == gw.get(other)


def test_an_empty_parameter_is_left_out(gw: Served) -> None:
    """As the contract writes them: ?buyer=&state=&broadcast=, ?cursor=&limit=2."""
    lists = [(f"{path}?cursor=&limit=2", f"{path}?limit=2") for path in LISTS]
    for query in (
        "/messages?buyer=&state=&broadcast=",
        "/tasks?state=&kind=&assignee=",
        "/decisions?rule=&outcome=&order=",
    ):
        lists.append((query, query.partition("?")[0]))
    for empty, without in lists:  # what other tests began may still move between the two
        until(partial(same, gw, empty, without), 30, empty)
    assert gw.api("GET", "/buyers?phone=&q=nobody-at-all").json["items"] == []


def test_closed_lists_name_their_words(gw: Served) -> None:
    for path in ("/tasks?state=opened", "/messages?state=gone", "/decisions?outcome=maybe", "/decisions?rule=luck"):
        answer = gw.api("GET", path)
        assert (answer.status, answer.kind) == (400, "bad-parameter")
        assert "must be one of" in answer.json["detail"]


def test_pages_hold_under_inserts(gw: Served) -> None:
    """Every item that was there at the start comes once, in order, while others are added."""
    for number in range(7):
        gw.api("POST", "/campaigns", {"key": f"PAGE{number}", **CAMPAIGN})
    before = [c["key"] for c in gw.all("/campaigns", 200)]
    seen = []
    for number, item in enumerate(gw.all("/campaigns", 2)):
        seen.append(item["key"])
        gw.api("POST", "/campaigns", {"key": f"LATE{number}", **CAMPAIGN})
    assert seen == before


def test_messages_and_decisions_page_without_gaps(gw: Served) -> None:
    """Many rows of one moment: the pages of any size join to the whole."""
    buyer = gw.buyer("messenger-main", "8802")["id"]
    with ThreadPoolExecutor(4) as pool:
        body = {"buyer": buyer, "purpose": "service", "text": "x"}
        list(pool.map(lambda _: gw.api("POST", "/messages", body), range(9)))
    for path in ("/messages", "/decisions"):
        whole = gw.get(path, buyer=buyer, limit="200")["items"]
        assert len(whole) >= 9
        for size in (1, 2, 4):
            assert [m.get("id", m.get("message")) for m in gw.all(path, size, buyer=buyer)] == [
                m.get("id", m.get("message")) for m in whole
            ]
        times = [datetime.fromisoformat(m.get("at") or m["history"][0]["at"]) for m in whole]
        assert times == sorted(times, reverse=True)


def test_buyers_page_without_gaps(gw: Served) -> None:
    for number in range(5):
        gw.buyer("messenger-main", f"88100{number}")
    whole = [b["id"] for b in gw.get("/buyers", limit="200")["items"]]
    assert len(whole) >= 5
    assert len(set(whole)) == len(whole)
    for size in (1, 3):
        assert [b["id"] for b in gw.all("/buyers", size)] == whole


def test_bodies_that_cannot_be(gw: Served) -> None:
    """Each with its kind and its status, never a 5xx."""
    good = b'{"key": "BODY1", "title": "x", "kind": "gift", "stock": 1}'
    for body, headers, expected in (
        (b"{", {}, (400, "bad-body")),
        (b"\xff\xfe", {}, (400, "bad-body")),
        (b'{"key": "A1", "key": "A2"}', {}, (400, "bad-body")),
        (b"[" * 5000, {}, (400, "bad-body")),
        (b"[]", {}, (400, "bad-body")),
        (b"null", {}, (400, "bad-body")),
        (b"", {}, (400, "bad-body")),
        (good.replace(b"1}", b"NaN}"), {}, (400, "bad-body")),
        (good.replace(b"1}", b"1e400}"), {}, (400, "bad-body")),
        (good.replace(b"1}", b'"1"}'), {}, (400, "bad-body")),
        (good.replace(b"1}", b"true}"), {}, (400, "bad-body")),
        (good.replace(b"1}", b"null}"), {}, (400, "bad-body")),
        (good.replace(b'"x"', b'"\\ud800"'), {}, (400, "bad-body")),
        (good.replace(b'"x"', b'"a\\u0000b"'), {}, (400, "bad-body")),
        (good, {"Content_Type": "text/plain"}, (415, "wrong-type")),
        (good, {"Content_Type": "application/xml"}, (415, "wrong-type")),
        (b" " * 1_100_000, {}, (413, "too-large")),
        (b" " * 6_000_000, {}, (413, "too-large")),
    ):
        answer = gw.api("POST", "/campaigns", body, **headers)
        assert (answer.status, answer.kind) == expected, (body[:60], answer.raw)


def test_every_fault_of_a_body_is_named(gw: Served) -> None:
    body = {"key": "bad key", "kind": "half", "stock": -1, "colour": "red", "value": {"amount": "x", "currency": "CNY"}}
    answer = gw.api("POST", "/campaigns", body)
    assert answer.status == 400
    assert {"key", "kind", "stock", "colour", "title"} <= answer.fields
    assert any(field.startswith("value") for field in answer.fields)
    assert all({"field", "detail"} == set(error) for error in answer.json["errors"])


def test_unknown_paths_and_methods(gw: Served) -> None:
    """Problem documents everywhere; a wrong method says which are right."""
    assert gw.api("GET", "/nowhere").kind == "not-found"
    assert gw.raw("GET", "/nowhere").kind == "not-found"
    answer = gw.api("PUT", "/campaigns")
    assert (answer.status, answer.kind, answer.headers["Allow"]) == (405, "wrong-method", "GET, HEAD, POST")
    assert gw.raw("DELETE", "/healthz").kind == "wrong-method"


@pytest.mark.parametrize("route", [route for route in ROUTES if route.method == "GET"], ids=lambda route: route.path)
def test_head_answers_like_get_without_a_body(gw: Served, route: Route) -> None:
    """RFC 9110, 9.3.2: status and headers, then nothing: the next answer of the connection begins where it should."""
    path = "/api/v1" + fill(route.path)
    if "{" not in route.path or route.path.startswith("/buyers/"):
        path = path.replace("nothing", gw.buyer("messenger-main", "7004444")["id"])
    query = "?phone=%2B8613900001234" if route.one_of else ""
    headers = {"Authorization": f"Bearer {gw.token()}"}
    connection = http.client.HTTPConnection("127.0.0.1", gw.port, timeout=20)
    try:
        told = []
        for method in ("GET", "HEAD", "GET"):
            connection.request(method, path + query, headers=headers)
            answer = connection.getresponse()
            raw = answer.read()
            told.append((answer.status, answer.headers.get_content_type()))
            assert bool(raw) == (method == "GET")
            assert answer.status != 405
        assert told[0] == told[1] == told[2]
    finally:
        connection.close()
    assert gw.raw("HEAD", path, None, {}).status == 401


@pytest.mark.parametrize("resource", LATER)
def test_what_is_not_built_yet_says_so(gw: Served, resource: str) -> None:
    for method, path in (
        ("GET", f"/{resource}"),
        ("POST", f"/{resource}"),
        ("PUT", f"/{resource}/x"),
        ("GET", f"/{resource}/x/y"),
    ):
        answer = gw.api(method, path, b"{}" if method != "GET" else None)
        assert (answer.status, answer.kind) == (501, "not-built")
    assert gw.raw("GET", f"/api/v1/{resource}").kind == "no-token"


def test_the_description_names_every_operation(gw: Served) -> None:
    """Open to everybody; every operation with its answers, problems and parameters; nothing is an object of anything."""
    found = gw.raw("GET", "/api/v1/openapi.json").json
    assert found["openapi"].startswith("3.")
    served = {(method.upper(), path) for path, item in found["paths"].items() for method in item}
    assert served == {(r.method, "/api/v1" + r.path) for r in ROUTES}
    schemas = found["components"]["schemas"]
    for item in found["paths"].values():
        for operation in item.values():
            assert {"400", "401", "403", "404", "503"} <= set(operation["responses"])
            for status, answer in operation["responses"].items():
                for media in answer["content"].values():
                    assert set(media["schema"]) & {"$ref", "anyOf"}, (operation["operationId"], status)
            assert all(param["description"] for param in operation["parameters"])
    for name in re.findall(r'"#/components/schemas/([^"]+)"', str(found).replace("'", '"')):
        assert name in schemas
