"""Who gets what, on the page: other words for who has a tag, segments saved and used again, dates of a weekly one, faults in words."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from console.web.words import WORDS
from tests.browser.test_console import clean, opened, staff, write
from tests.conditions import every
from tests.console.served import Served, serving, until

W = WORDS["zh-CN"]
TAGS = ("casual", "军旅", "")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A gateway with three buyers who agreed: one casual, one military, one without a style."""
    with serving(tmp_path_factory.mktemp("segments"), processes=1, change=_configured) as gw:
        for n, tag in enumerate(TAGS):
            buyer = gw.buyer("messenger-main", f"730000{n}", "恢复")
            assert gw.api("PATCH", f"/buyers/{buyer['id']}", {"tags": [tag] if tag else []}).status == 200
        until(lambda: count(gw, "军旅") == 1, 30, "the ledger")
        yield gw


@pytest.fixture
def no_staff_after(shop):
    """The other tests are alone again: there they approve by the count."""
    yield
    shop.redis("DEL", "staff")


def _configured(text: str) -> str:
    """Above two somebody approves; the caps stay out of the way."""
    section = "[broadcasts]\napprove_above = 2\nundo_seconds = 0\n\n[sandbox]\n"
    return re.sub(r"(marketing_per_\w+) = \d", r"\1 = 9", text.replace("[sandbox]\n", section))


def count(gw: Served, tag: str) -> int:
    where = {"all": [{"field": "buyer.tags", "op": "=", "value": tag}]}
    return gw.api("POST", "/segments/preview", {"where": where}).json["count"]


async def condition(builder, field: str, value: str) -> None:
    await builder.locator(".field").first.select_option(field)
    await builder.locator(".value input").first.fill(value)


async def fresh(browser, shop: Served, path: str = "/broadcasts/new", lang: str = "zh-CN", *look) -> Page:
    page = await staff(browser, shop, lang, *look)
    await page.goto(f"http://127.0.0.1:{shop.port}/console{path}")
    return page


@pytest.mark.timeout(120)
async def test_each_style_reads_its_own_words(browser, shop):
    """A version for a tag; the rest reads the text above. The preview tells how many read which, the phones show it."""
    page = await fresh(browser, shop)
    await write(page, "zh-CN", "各穿各的", "会员日，全店会员价。")
    await page.get_by_role("button", name=W["compose"]["add_variant"]).click()
    version = page.locator(".variant")
    await version.locator(".value input").fill("军旅")
    await version.locator('textarea[data-locale="zh-CN"]').fill("会员日，工装会员价。")
    await expect(version.locator(".counts").first).to_contain_text("messenger-main")
    await expect(page.locator("#rest")).to_have_text(W["js"]["rest_reads"])
    await page.get_by_role("button", name=W["compose"]["preview"]).click()
    await expect(page.locator("#shown")).to_contain_text(W["js"]["by_variant"].format(n=1, name="a"))
    await expect(page.locator("#shown")).to_contain_text(W["js"]["by_rest"].format(n=2))
    await expect(page.locator("#shown ul.sample .bubble", has_text="工装会员价")).to_have_count(
        1
    )  # as each will read it
    await clean(page, "zh-CN", "variants")
    await page.get_by_role("button", name=W["compose"]["next"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_"))
    await page.goto(page.url + "/edit")  # comes back as it was written, the rest not as a version of its own
    await expect(version).to_have_count(1)
    await expect(version.locator(".value input")).to_have_value("军旅")
    await page.get_by_role("button", name=W["compose"]["next"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_[^/]+$"))
    await page.get_by_role("button", name=W["detail"]["submit"]).click()
    await page.get_by_role("dialog").get_by_role("textbox").fill("3")
    await page.get_by_role("dialog").get_by_role("button", name=W["detail"]["submit"]).click()
    await expect(page.locator("#state")).to_have_text(W["state"]["done"], timeout=30_000)
    shop.told("messenger-main", "工装会员价", "7300001")
    for other in ("7300000", "7300002"):
        shop.told("messenger-main", "全店会员价", other)


@pytest.mark.timeout(120)
async def test_a_segment_is_saved_chosen_changed_and_taken_away(browser, shop):
    """From conditions to a name, with the live count at each step; a broadcast that uses it keeps it from being deleted."""
    page = await fresh(browser, shop)
    await condition(page.locator("#builder"), "buyer.tags", "casual")
    await expect(page.locator("#builder-count")).to_have_text(W["js"]["fit_now"].format(n=1))
    await page.get_by_role("button", name=W["compose"]["keep"]).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name=W["compose"]["keep_go"]).click()
    await expect(dialog.get_by_role("alert")).to_have_text(W["js"]["name_missing"])
    await dialog.get_by_role("textbox").fill("休闲风")
    await dialog.get_by_role("button", name=W["compose"]["keep_go"]).click()
    await expect(page.get_by_role("radio", name=W["compose"]["saved"])).to_be_checked()
    await expect(page.locator("#segment option:checked")).to_have_text("休闲风")
    await expect(page.locator("#segment-count")).to_have_text(W["js"]["fit_now"].format(n=1))
    await page.get_by_label(W["compose"]["name"], exact=True).fill("给休闲风")
    await page.locator("#text-zh-CN").fill("会员日")
    await page.get_by_role("radio", name=W["compose"]["weekly"], exact=True).check()
    await expect(page.locator("#rounds")).to_contain_text("10:00")
    await page.get_by_role("button", name=W["compose"]["next"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_"))
    broadcast = page.url.rpartition("/")[2]
    assert shop.api("POST", f"/broadcasts/{broadcast}/submit").json["state"] == "scheduled"

    await page.get_by_role("link", name=W["nav"]["segments"]).click()
    row = page.get_by_role("row", name="休闲风")
    await expect(row).to_contain_text("casual")
    await expect(row.locator(".n")).to_have_text(["1", "1"])
    await clean(page, "zh-CN", "segments")
    await page.get_by_role("link", name="休闲风").click()
    await expect(page.locator("#using")).to_contain_text("给休闲风")
    await page.get_by_role("button", name=W["segments"]["delete"], exact=True).last.click()
    await page.get_by_role("button", name=W["segments"]["delete_go"]).click()
    await expect(page.locator("#faults")).to_contain_text(W["js"]["segment_in_use"])
    await clean(page, "zh-CN", "segment-in-use")

    await page.locator(".value input").fill("军旅")
    await expect(page.locator("#count")).to_have_text(W["js"]["count"].format(n=1))
    await page.get_by_label(W["segments"]["name"], exact=True).fill("军旅风")
    await page.get_by_role("button", name=W["segments"]["save"]).click()
    await expect(page.get_by_role("row", name="军旅风")).to_contain_text("军旅")
    assert shop.api("POST", f"/broadcasts/{broadcast}/cancel").status == 200
    await page.get_by_role("link", name="军旅风").click()
    await expect(page.locator("#using")).to_have_count(0)
    await expect(page.locator("#count")).to_have_text(W["js"]["count"].format(n=1))  # its scripts are there
    await page.get_by_role("button", name=W["segments"]["delete"], exact=True).last.click()
    await page.get_by_role("button", name=W["segments"]["delete_go"]).click()
    await expect(page.locator(".empty")).to_contain_text(W["segments"]["empty_title"])
    await clean(page, "zh-CN", "segments-none")


async def test_who_bought_it_lately(browser, shop):
    """Of what happens at a time the page asks since when, and says so in words; nothing that is half chosen is asked for."""
    page = await fresh(browser, shop, "/segments/new")
    await condition(page.locator("#builder"), "items.product", "31")
    await page.locator("#builder .days").fill("90")
    await page.locator("#builder-add").click()
    await page.locator("#builder .field").nth(1).select_option("orders.ship")
    await page.locator("#builder .op").nth(1).select_option("in")
    await page.get_by_label(W["choice"]["delivered"], exact=True).check()
    await expect(page.locator("#count")).to_have_text(W["js"]["count_none"])
    await clean(page, "zh-CN", "segment-lately")
    await page.get_by_label(W["segments"]["name"], exact=True).fill("买过 31 的")
    await page.get_by_role("button", name=W["segments"]["save"]).click()
    row = page.get_by_role("row", name="买过 31 的")
    await expect(row).to_contain_text("买过的商品有 31（最近 90 天）")
    await expect(row).to_contain_text(W["choice"]["delivered"])
    saved = next(one for one in shop.all("/segments", 50) if one["name"] == "买过 31 的")
    assert saved["where"] == {
        "all": [
            {"field": "items.product", "op": "=", "value": "31", "since": {"days": 90}},
            {"field": "orders.ship", "op": "in", "value": ["delivered"]},
        ]
    }
    assert shop.api("DELETE", f"/segments/{saved['id']}").status == 200
    assert page.complaints == []


async def test_every_condition_can_be_edited_and_none_is_lost(browser, shop):
    """Each field, operator, form of a value and narrowing is shown by its own inputs and read back from them; what the page does not know stays."""
    page = await fresh(browser, shop, "/segments/new", "zh-CN")
    await expect(page.locator("#builder .field")).to_have_count(1)
    script = """async ([where, touch]) => {
      const of = (name) => new URL(name, document.querySelector('script[src*="segment.js"]').src).href;
      const { builder } = await import(of('./conditions.js'));
      const root = document.querySelector('#builder').cloneNode(true);
      const made = builder(root);
      made.show(where);
      if (touch) for (const input of root.querySelectorAll('.value *, .besides *')) if (input.matches('input, select, textarea') && !input.matches('.mode, .more')) input.dispatchEvent(new Event('input', { bubbles: true }));
      return [made.where(), root.querySelectorAll('.condition.kept').length];
    }"""
    tests = list(every())
    for where in (
        {"all": tests},
        {"any": [{"none": tests[:3]}, {"all": [{"any": tests[3:6]}, {"not": tests[7]}, {"all": []}]}]},
    ):
        for touch in (False, True):
            found, kept = await page.evaluate(script, [where, touch])
            assert (found, kept) == (where, 0)
    strange = [
        {"field": "buyer.shoe_size", "op": "=", "value": 38}, {"field": "member.is", "op": "!=", "value": True},
        {"field": "orders.count", "op": "=", "value": 3, "weather": "fine"}, {"field": "orders.count", "op": "in", "value": [3]},
    ]  # fmt: skip
    found, kept = await page.evaluate(script, [{"all": [tests[0], *strange]}, True])
    assert (found, kept) == ({"all": [tests[0], *strange]}, len(strange))


@pytest.mark.timeout(120)
async def test_a_clerk_narrows_groups_and_negates(browser, shop):
    """By mouse alone, from an empty page to conditions in groups; opened again, one changed, the others as they were."""
    page = await fresh(browser, shop, "/segments/new", "zh-CN", 390)
    builder = page.locator("#builder")
    await expect(builder.locator(".op").first).to_be_hidden()  # "是否会员 · 是会员", no "是" between
    await expect(builder.locator(".value select option")).to_have_text([W["is"]["member.is"], W["is_not"]["member.is"]])
    await page.locator("#builder-add").click()
    last = builder.locator(":scope > .conditions > .condition").nth(1)
    await last.locator(".field").select_option("orders.count")
    await last.locator(".value input").fill("2")
    for name, fill in (("shop", ""), ("until", "30"), ("since", "2026-01-01")):
        await last.locator(".more").select_option(name)
        beside = last.locator(f'[data-narrow="{name}"]')
        if name == "until":
            await beside.locator(".mode").select_option("days")
        if fill:
            await beside.locator("input").fill(fill)
    await builder.locator(":scope > .bar > .add-group").click()
    group = builder.locator(".group")
    await group.locator(".match").select_option("none")
    await group.locator(".field").select_option("consent.marketing")
    await group.locator(".value select").select_option("refused")
    await group.locator(".more").select_option("account")
    await group.locator('[data-narrow="account"] select').select_option("sms-main")
    await expect(page.locator("#count")).to_have_text(W["js"]["count_none"])
    await clean(page, "zh-CN", "segment-groups")
    await page.get_by_label(W["segments"]["name"], exact=True).fill("细分")
    await page.get_by_role("button", name=W["segments"]["save"]).click()
    row = page.get_by_role("row", name="细分")
    told = "是会员，并且付款订单数是 2（店铺：main、到 30 天前为止、从 2026-01-01 起），并且不满足（营销消息授权是拒绝（渠道：sms-main））"
    await expect(row).to_contain_text(told)
    saved = next(one for one in shop.all("/segments", 50) if one["name"] == "细分")
    bought = {
        "field": "orders.count",
        "op": "=",
        "value": 2,
        "shop": "main",
        "until": {"days": 30},
        "since": "2026-01-01",
    }
    refused = {"field": "consent.marketing", "op": "=", "value": "refused", "account": "sms-main"}
    member = {"field": "member.is", "op": "=", "value": True}
    assert saved["where"] == {"all": [member, bought, {"none": [refused]}]}
    await page.get_by_role("link", name="细分").click()
    await builder.locator(".value input").first.fill("3")
    await last.locator('[data-narrow="since"] button').click()
    await group.locator(".condition .remove").click()  # its last condition: the group goes with it
    await expect(group).to_have_count(0)
    await page.get_by_role("button", name=W["segments"]["save"]).click()
    await expect(row).to_contain_text("付款订单数是 3")
    now = shop.get(f"/segments/{saved['id']}")["where"]
    assert now == {
        "all": [member, {name: 3 if name == "value" else value for name, value in bought.items() if name != "since"}]
    }
    assert shop.api("DELETE", f"/segments/{saved['id']}").status == 200
    assert page.complaints == []


async def test_what_is_missing_is_said_where_it_is_missing(browser, shop):
    """By the page itself, in its language, before anything leaves it: no conditions is not everybody, no time is not now."""
    page = await fresh(browser, shop, "/broadcasts/new", "zh-TW", 390, "dark")
    w = WORDS["zh-TW"]
    await expect(page.locator("#builder .field")).to_contain_text("是否為會員")
    await page.locator("#builder").get_by_role("button", name=w["compose"]["remove"]).click()
    await expect(page.locator("#builder-add")).to_be_focused()
    await page.get_by_role("radio", name=w["compose"]["at"], exact=True).check()
    await page.get_by_role("button", name=w["compose"]["add_variant"]).click()
    await page.get_by_role("button", name=w["compose"]["next"]).click()
    faults = page.locator("#faults")
    for name in ("title_missing", "no_condition", "value_missing", "time_missing"):
        await expect(faults).to_contain_text(w["js"][name])
    await clean(page, "zh-TW", "missing")
    await faults.get_by_role("link").last.click()
    await expect(page.locator("#send-at")).to_be_focused()
    await page.locator("#send-at").fill("2026-01-01T10:00")
    await page.get_by_role("button", name=w["compose"]["next"]).click()
    await expect(faults).to_contain_text(w["js"]["time_past"])
    await page.get_by_role("radio", name=w["compose"]["now"], exact=True).check()
    await page.get_by_role("radio", name=w["compose"]["everybody"], exact=True).check()
    await page.get_by_role("button", name=w["compose"]["drop_variant"]).click()
    await page.locator("#title").fill("x")
    await page.locator("#text-zh-TW").fill("會員日")
    await page.locator("#items").fill("no-such")
    await page.get_by_role("button", name=w["compose"]["next"]).click()
    await expect(faults).to_contain_text(w["told"]["no_product"].replace("{1}", "no-such"))
    await page.locator("#items").fill("")
    await page.get_by_role("button", name=w["compose"]["preview"]).click()
    await expect(page.locator("#shown h2").first).to_be_in_viewport()  # it stands below the form on a phone


async def test_the_next_dates_are_those_of_the_shop(browser, shop):
    """Whatever the browser's zone: across the change of clocks, in the shop's wall time; none after the last day."""
    page = await fresh(browser, shop)
    script = """async ([zone, rule, from]) => {
      const of = (name) => new URL(name, document.querySelector('script[src*="compose.js"]').src).href;
      const { facts } = await import(of('./console.js'));
      facts.timezone = zone;
      const { rounds } = await import(of('./schedule.js'));
      return rounds(rule, Date.parse(from), 3);
    }"""
    rule = {"weekday": "wed", "time": "10:00", "until": ""}
    told = await page.evaluate(script, ["Asia/Shanghai", rule, "2026-12-02T02:00:00Z"])
    assert told == ["2026-12-02T02:00:00.000Z", "2026-12-09T02:00:00.000Z", "2026-12-16T02:00:00.000Z"]
    told = await page.evaluate(script, ["America/New_York", rule, "2026-10-22T00:00:00Z"])
    assert told == ["2026-10-28T14:00:00.000Z", "2026-11-04T15:00:00.000Z", "2026-11-11T15:00:00.000Z"]
    told = await page.evaluate(script, ["Asia/Shanghai", {**rule, "until": "2026-12-09"}, "2026-12-02T02:00:01Z"])
    assert told == ["2026-12-09T02:00:00.000Z"]


def test_scripts_are_never_old(shop):
    """What a page names is kept for good under its mark; what a script imports is asked for again, and not sent twice."""
    bare = shop.raw("GET", "/console/static/console.js")
    assert (bare.status, bare.headers["Cache-Control"]) == (200, "no-cache")
    assert shop.raw("GET", "/console/static/console.js", headers={"If-None-Match": bare.headers["ETag"]}).status == 304
    marked = shop.raw("GET", f"/console/static/console.js?{bare.headers['ETag'].strip(chr(34))}")
    assert "immutable" in marked.headers["Cache-Control"]


@pytest.mark.timeout(150)
async def test_a_second_person_approves_and_reads_the_results(browser, shop, no_staff_after):
    """Who handed it in is told to wait; the colleague approves. Skips and failures are told by reason, by whom, and as a file."""
    names = {"7300000": "欧阳示例", "7300001": "", "7300002": ""}
    buyers = {id: shop.get("/buyers", address=f"messenger-main:{id}")["items"][0]["id"] for id in names}
    assert shop.api("PATCH", f"/buyers/{buyers['7300000']}", {"name": names["7300000"]}).status == 200
    shop.say("messenger-main", "TD", "7300002")
    shop.told("messenger-main", "已停发", "7300002")
    assert shop.sandbox("POST", "/faults/messenger-main", {"next": ["errcode:10/2018108"]}).status == 200
    clerk = await fresh(browser, shop)
    owner = shop.cli("staff", "add", "老板", "--role", "owner").stdout.splitlines()[-1]
    await write(clerk, "zh-CN", "大群发", "会员日，明天见。")
    await clerk.get_by_role("button", name=W["compose"]["next"]).click()
    await expect(clerk).to_have_url(re.compile("/console/broadcasts/bc_"))
    await expect(clerk.locator("#previewed")).to_contain_text(W["js"]["count"].format(n=3))  # without being asked
    await expect(clerk.locator("#next")).to_have_text(W["js"]["next_draft_approval"].format(limit=2))
    await clerk.locator("#test-to").fill("fax-main:1")
    await clerk.get_by_role("button", name=W["detail"]["test_go"]).click()
    await expect(clerk.locator("#told")).to_contain_text(W["told"]["an_address"].replace("{1}", "messenger-main"))
    unusual = json.dumps({"type": "/docs/problems#too-many", "detail": "a sentence of its own"})
    await clerk.route("**/test", lambda route: route.fulfill(status=429, body=unusual))
    await clerk.get_by_role("button", name=W["detail"]["test_go"]).click()
    await expect(clerk.locator("#told")).to_contain_text(f"{W['problem']['too-many']}（a sentence of its own）")
    await clerk.unroute("**/test")
    await clerk.get_by_role("button", name=W["detail"]["submit"]).click()
    dialog = clerk.get_by_role("dialog")
    await expect(dialog).to_contain_text(W["detail"]["hand_in_help"])
    await dialog.get_by_role("textbox").fill("3")
    await dialog.get_by_role("button", name=W["detail"]["hand_in"]).click()
    await expect(clerk.locator("#next")).to_have_text(W["js"]["next_waits"])
    await expect(clerk.get_by_role("button", name=W["detail"]["approve"])).to_have_count(0)

    page = await opened(browser, f"{owner}&lang=zh-CN", 390)
    await page.get_by_role("button", name=W["sign_in"]["code_go"]).click()
    await page.goto(clerk.url)
    await expect(page.locator("#next")).to_contain_text("test-owner")
    await page.get_by_role("button", name=W["detail"]["approve"]).click()
    await page.get_by_role("dialog").get_by_role("textbox").fill("3")
    await page.get_by_role("dialog").get_by_role("button", name=W["detail"]["approve"]).click()
    await expect(page.locator("#state")).to_have_text(W["state"]["done"], timeout=30_000)
    said = {"reason": W["reason"]["unreachable"], "code": "10/2018108", "words": W["code"]["10/2018108"]}
    await expect(page.locator("#reasons")).to_contain_text(W["js"]["code_says"].format(**said))
    d = W["detail"]
    await expect(page.locator("#past b")).to_have_text(
        [d[name] for name in ("created", "submitted", "approved", "started", "ended")]
    )
    await expect(page.locator("#past span")).to_have_text(
        ["test-owner", "test-owner", "老板", d["by_itself"], d["by_itself"]]
    )
    await clean(page, "zh-CN", "results")
    await page.get_by_role("link", name=W["reason"]["unreachable"]).click()
    await expect(page.locator("#messages tbody tr")).to_have_count(1, timeout=20_000)
    await expect(page.locator("#messages")).to_contain_text(W["js"]["code_says"].format(**said))
    await page.go_back()
    await page.get_by_role("link", name=W["reason"]["opted_out"]).click()
    await expect(page.locator("#messages tbody tr")).to_have_count(1, timeout=20_000)
    await expect(page.locator("#messages")).to_contain_text(buyers["7300002"])
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    await page.goto(clerk.url + "/messages")
    await expect(page.locator("#messages tbody tr")).to_have_count(3, timeout=20_000)
    await expect(page.locator("#messages")).to_contain_text("欧阳示例")
    assert not [one for one in asked if "/buyers" in one]  # names come with the messages
    await expect(page.locator("#messages")).to_contain_text(W["js"]["code_says"].format(**said))
    await clean(page, "zh-CN", "messages")
    async with page.expect_download() as waiting:
        await page.get_by_role("link", name=W["detail"]["download"]).click()
    raw = Path(await (await waiting.value).path()).read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")  # spreadsheets read it as UTF-8
    rows = {row[W["csv"]["buyer"]]: row for row in csv.DictReader(io.StringIO(raw.decode("utf-8-sig")))}
    assert set(rows) == set(buyers.values())
    told = [rows[buyers[id]] for id in sorted(buyers)]
    assert told[0][W["csv"]["name"]] == "欧阳示例"
    assert told[2][W["csv"]["reason"]] == W["reason"]["opted_out"]
    assert sorted(row[W["csv"]["state"]] for row in told)[:1] == [W["message_state"]["failed"]]
    assert {row[W["csv"]["code"]] for row in told} == {"10/2018108", ""}
