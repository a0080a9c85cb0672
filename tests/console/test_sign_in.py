"""Signing in at the console: by token, by one-time URL; what a session may do, from where, and when it ends."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

import pytest

from bot.access import MOST_GUESSES, SESSION_MS
from tests.console.served import Answer, Served

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HERE = {"Sec-Fetch-Site": "same-origin"}


def post(gw: Served, path: str, form: dict[str, str], **headers: str) -> Answer:
    return gw.raw(
        "POST", path, urlencode(form).encode(), {**FORM, **HERE, **{k.replace("_", "-"): v for k, v in headers.items()}}
    )


def cookie_of(answer: Answer) -> str:
    found = SimpleCookie(answer.headers["Set-Cookie"])["touchpoint_session"]
    assert found["httponly"]
    assert found["samesite"] == "Strict"
    assert found["path"] == "/"
    return f"touchpoint_session={found.value}"


def sign_in(gw: Served, role: str = "marketing") -> str:
    answer = post(gw, "/console/sign-in", {"token": gw.token(role)})
    assert (answer.status, answer.headers["Location"]) == (303, "/console/broadcasts")
    return cookie_of(answer)


def csrf_of(gw: Served, cookie: str) -> str:
    page = gw.raw("GET", "/console/broadcasts", None, {"Cookie": cookie})
    assert page.status == 200
    return re.search(rb'data-csrf="([^"]+)"', page.raw)[1].decode()


@pytest.fixture(autouse=True)
def nobody_has_guessed(gw: Served) -> None:
    """The address of all tests is one: each begins without wrong guesses."""
    gw.forget_guesses()


def test_without_a_session_there_is_the_sign_in_page(gw: Served) -> None:
    for path in ("/console/broadcasts", "/console/broadcasts/new", "/console/broadcasts/bc_x"):
        answer = gw.raw("GET", path)
        assert (answer.status, urlsplit(answer.headers["Location"]).path) == (303, "/console/sign-in")
    assert gw.raw("GET", "/console").headers["Location"] == "/console/broadcasts"
    assert gw.raw("GET", "/console/sign-in").status == 200


def test_pages_go_out_with_their_headers(gw: Served) -> None:
    cookie = sign_in(gw)
    for path in ("/console/sign-in", "/console/broadcasts", "/console/broadcasts/new"):
        headers = gw.raw("GET", path, None, {"Cookie": cookie}).headers
        policy = headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"


def test_a_one_time_url_signs_in_once(gw: Served) -> None:
    """The URL of `staff add`: opening it uses nothing up, its button does, a second time it is of no use."""
    done = gw.cli("staff", "add", "小林", "--role", "marketing")
    assert done.returncode == 0, done.stderr
    where = urlsplit(done.stdout.splitlines()[-1])
    code = where.query.removeprefix("code=")
    for _ in range(2):
        assert code.encode() in gw.raw("GET", f"{where.path}?{where.query}").raw
    cookie = cookie_of(post(gw, "/console/sign-in", {"code": code}))
    page = gw.raw("GET", "/console/broadcasts", None, {"Cookie": cookie}).raw.decode()
    assert "小林" in page
    again = post(gw, "/console/sign-in", {"code": code})
    assert again.status == 401
    assert "Set-Cookie" not in again.headers
    for name, role in (("", "owner"), ("x", "boss")):
        assert gw.cli("staff", "add", name, "--role", role).returncode == 2


def test_a_session_reads_and_writes_the_api_with_its_mark_only(gw: Served) -> None:
    """SameSite and a mark that only the pages know: a form of another site can do nothing."""
    cookie = sign_in(gw)
    read = gw.raw("GET", "/api/v1/campaigns", None, {"Cookie": cookie})
    assert read.status == 200
    body = b'{"title": "x", "where": {"all": []}, "purpose": "marketing", "accounts": ["sms-main"], "text": {"zh-CN": "x"}}'
    json = {"Cookie": cookie, "Content-Type": "application/json"}
    for mark in ({}, {"X-CSRF-Token": "wrong"}, {"X-CSRF-Token": "\xff"}):
        refused = gw.raw("POST", "/api/v1/broadcasts", body, {**json, **mark})
        assert (refused.status, refused.kind) == (403, "not-from-here")
    made = gw.raw("POST", "/api/v1/broadcasts", body, {**json, "X-CSRF-Token": csrf_of(gw, cookie)})
    assert made.status == 201
    assert made.json["created_by"] == "test-marketing"
    for method, path in (("PATCH", f"broadcasts/{made.json['id']}"), ("PUT", "products/p1"), ("DELETE", "buyers/b_x")):
        refused = gw.raw(method, f"/api/v1/{path}", b'{"title": "y"}', json)
        assert (refused.status, refused.kind) == (403, "not-from-here"), method
    assert gw.raw("GET", "/api/v1/campaigns", None, {"Cookie": cookie, "Authorization": "Bearer x"}).status == 401


def test_a_role_sees_what_it_may(gw: Served) -> None:
    cookie = sign_in(gw, "read-only")
    page = gw.raw("GET", "/console/broadcasts", None, {"Cookie": cookie})
    assert page.status == 200
    assert b"/console/broadcasts/new" not in page.raw
    assert gw.raw("GET", "/console/broadcasts/new", None, {"Cookie": cookie}).status == 403


def test_signing_out_ends_it(gw: Served) -> None:
    cookie = sign_in(gw)
    left = post(gw, "/console/sign-out", {}, Cookie=cookie)
    assert (left.status, left.headers["Location"]) == (303, "/console/sign-in")
    assert gw.raw("GET", "/console/broadcasts", None, {"Cookie": cookie}).status == 303
    assert gw.raw("GET", "/api/v1/campaigns", None, {"Cookie": cookie}).status == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_forms_of_other_sites_are_refused(gw: Served, site: str) -> None:
    """Nobody is signed in, or out, by a page that is not ours."""
    for path in ("/console/sign-in", "/console/sign-out"):
        answer = post(gw, path, {"token": gw.token()}, Sec_Fetch_Site=site)
        assert answer.status == 403
        assert "Set-Cookie" not in answer.headers
    old = {**FORM, "Origin": "https://evil.example"}
    assert gw.raw("POST", "/console/sign-in", b"token=x", old).status == 403


def test_guessing_locks_out(gw: Served) -> None:
    """Ten wrong tokens from an address: for a quarter of an hour not even the right one gets in."""
    for _ in range(MOST_GUESSES):
        assert post(gw, "/console/sign-in", {"token": "tp_wrong"}).status == 401
    locked = post(gw, "/console/sign-in", {"token": gw.token()})
    assert (locked.status, locked.headers["Retry-After"]) == (429, "900")
    gw.forget_guesses()
    sign_in(gw)


@pytest.mark.parametrize(
    "onward", ["//evil.example", "/console//evil", "https://evil.example", "/console/x\r\nSet-Cookie: a=b", "/api"]
)
def test_it_leads_nowhere_else(gw: Served, onward: str) -> None:
    answer = post(gw, "/console/sign-in", {"token": gw.token(), "next": onward})
    assert answer.headers["Location"] in ("/console/broadcasts", "/console//evil")
    assert answer.headers["Location"].startswith("/console/")


def test_a_session_lives_half_a_day() -> None:
    assert SESSION_MS == 12 * 3_600_000
