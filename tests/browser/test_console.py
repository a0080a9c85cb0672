"""Staff send the member day in a browser: signing in, writing, looking, submitting, watching; in three languages, at three widths."""

from __future__ import annotations

import json
import re
import urllib.parse

import pytest
from playwright.async_api import Page, expect

from bot import sms
from console.web.words import WORDS
from tests.browser.test_accessibility import audit
from tests.browser.visitor import Visitor
from tests.console.served import Served, serving, until

SECTION = """[broadcasts]
approve_above = 50
undo_seconds = 0
link_hosts = ["shop.example"]
test_receivers = ["sms-main:+8613900007777"]

[broadcasts.templates.sms-cn.SMS_48001]
text = "${day}会员日：${item}会员价${price}元，当天24点止。拒收请回复R"

[sandbox]
"""
MEMBERS = 6


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A gateway with a few buyers who agreed, and one who never did."""
    folder = tmp_path_factory.mktemp("console")
    with serving(folder, change=lambda text: text.replace("[sandbox]\n", SECTION)) as gw:
        for n in range(MEMBERS):
            gw.buyer("messenger-main", f"720000{n}", "恢复" if n else "你好")
        body = {"purpose": "marketing", "where": {"all": []}, "text": {"zh-CN": "x"}, "accounts": ["messenger-main"]}

        def known() -> bool:
            told = gw.api("POST", "/broadcasts/preview", body).json
            return told["would_send"] == {"messenger-main": MEMBERS - 1}

        until(known, 30, "the ledger")
        yield gw


async def staff(browser, gw: Served, lang: str = "zh-CN", width: int = 1440, scheme: str = "light") -> Page:
    """Somebody signed in with an API token."""
    page = await opened(browser, f"http://127.0.0.1:{gw.port}/console/sign-in?lang={lang}", width, scheme)
    await page.locator("#token").fill(gw.token())
    await page.get_by_role("button", name=WORDS[lang]["sign_in"]["go"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts$"))
    return page


async def opened(browser, address: str, width: int = 1440, scheme: str = "light") -> Page:
    page = await browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda line: page.complaints.append(line.text) if line.type == "error" else None)
    await page.goto(address)
    return page


async def write(page: Page, lang: str, title: str, text: str) -> None:
    """A draft for everybody by Messenger, in the page's own words."""
    w = WORDS[lang]["compose"]
    await page.goto(page.url.split("/console")[0] + "/console/broadcasts/new")
    await page.get_by_label(w["name"], exact=True).fill(title)
    await page.get_by_role("radio", name=w["everybody"], exact=True).check()
    await page.locator("#text-zh-CN").fill(text)
    for account in ("wechat-main", "sms-main"):
        await page.get_by_label(account, exact=True).uncheck()


async def clean(page: Page, lang: str, name: str) -> None:
    """No fault that axe finds, nothing wider than the window; a picture for who looks."""
    assert await audit(Visitor(page, "en" if lang == "en" else "zh-CN")) == []
    assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
    await Visitor(page, "en" if lang == "en" else "zh-CN").shoot(f"console-{name}", whole=True)


@pytest.mark.timeout(180)
async def test_the_member_day_from_the_first_word_to_the_phone(browser, shop):
    """Written, faults beside their fields, previewed, the count typed, watched, and each reason leads to its messages."""
    w = WORDS["zh-CN"]
    address = shop.cli("staff", "add", "小林", "--role", "owner").stdout.splitlines()[-1]
    page = await opened(browser, f"{address}&lang=zh-CN")
    await page.get_by_role("button", name=w["sign_in"]["code_go"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts$"))
    await write(page, "zh-CN", "十二月会员日", "{{ nmae }}，周三会员日，当天24点止。")
    await page.get_by_role("button", name=w["compose"]["next"]).click()
    await expect(page.locator("#faults")).to_contain_text("nmae")
    await expect(page.locator('[data-field="text.zh-CN"] .fault')).to_contain_text("nmae")
    await expect(page.locator("#text-zh-CN")).to_have_attribute("aria-invalid", "true")
    await page.locator("#text-zh-CN").fill("{{ name | default('您') }}，周三会员日，当天24点止。")
    await expect(page.locator("#count-zh-CN")).to_contain_text("messenger-main")
    await page.get_by_role("button", name=w["compose"]["preview"]).click()
    await expect(page.locator("#shown")).to_contain_text(f"{MEMBERS} 位买家")
    await expect(page.locator("#shown")).to_contain_text(w["reason"]["no_consent"])
    await Visitor(page).shoot("console-preview-zh-CN-1440")
    await page.get_by_role("button", name=w["compose"]["next"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_"))

    await page.get_by_role("button", name=w["detail"]["submit"]).click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox").fill("5")
    await dialog.get_by_role("button", name=w["detail"]["submit"]).click()
    await expect(dialog.get_by_role("alert")).to_contain_text(str(MEMBERS))
    await Visitor(page).shoot("console-confirm-zh-CN-1440")
    await dialog.get_by_role("textbox").fill(str(MEMBERS))
    await dialog.get_by_role("button", name=w["detail"]["submit"]).click()

    await expect(page.locator("#state")).to_have_text(w["state"]["done"], timeout=30_000)
    await expect(page.locator('[data-sum="sent"]')).to_have_text(str(MEMBERS - 1))
    await expect(page.locator('[data-sum="skipped"]')).to_have_text("1")
    await Visitor(page).shoot("console-done-zh-CN-1440", whole=True)
    shop.told("messenger-main", "周三会员日", "7200001")
    await page.get_by_role("link", name=w["reason"]["no_consent"]).click()
    await expect(page.locator("#messages tbody tr")).to_have_count(1, timeout=20_000)
    await expect(page.locator("#messages")).to_contain_text(w["reason"]["no_consent"])
    refused = [line for line in page.complaints if "400 (Bad Request)" in line]
    assert page.complaints == refused[:1]  # the browser's own line about the one refusal


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("lang", "scheme", "width"),
    [("zh-CN", "light", 1440), ("en", "dark", 390), ("zh-TW", "light", 1024), ("en", "light", 1440)],
)
async def test_every_page_and_state_is_clean(browser, shop, lang, scheme, width):
    """axe, and no line wider than the window: sign-in, its faults, the list, writing, faults, the draft, the dialog, trouble."""
    w, mark = WORDS[lang], f"{lang}-{scheme}-{width}"
    base = f"http://127.0.0.1:{shop.port}"
    shop.forget_guesses()
    out = await browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    await out.goto(f"{base}/console/sign-in?lang={lang}")
    await clean(out, lang, f"sign-in-{mark}")
    await out.get_by_label(w["sign_in"]["token"]).fill("tp_wrong")
    await out.get_by_role("button", name=w["sign_in"]["go"]).click()
    await expect(out.get_by_role("alert")).to_have_text(w["sign_in"]["bad_token"])
    await clean(out, lang, f"sign-in-wrong-{mark}")
    await out.close()

    page = await staff(browser, shop, lang, width, scheme)
    await write(page, lang, "W" * 80, "最后两天！看 https://shop.example/day，" + "会员日" * 40)
    await page.locator("#text-en").fill("Member day {{ x }}")
    await page.get_by_label("sms-cn", exact=True).check()
    await page.locator("#template-sms-cn").select_option("SMS_48001")
    await page.locator("#more").evaluate("node => node.open = true")
    await page.get_by_role("button", name=w["compose"]["add_variant"]).click()
    await page.get_by_role("radio", name=w["compose"]["conditions"], exact=True).check()
    await page.locator("#builder").get_by_role("button", name=w["compose"]["add_condition"]).click()
    await page.get_by_role("radio", name=w["compose"]["weekly"], exact=True).check()
    await page.get_by_role("button", name=w["compose"]["preview"]).click()
    await expect(page.locator("#faults")).to_be_visible()
    await clean(page, lang, f"compose-{mark}")

    await write(page, lang, "会员日", "会员日")
    await page.get_by_role("button", name=w["compose"]["next"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_"))
    await page.get_by_role("button", name=w["detail"]["submit"]).click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await clean(page, lang, f"submit-{mark}")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name=w["detail"]["cancel"], exact=True).is_hidden()
    await clean(page, lang, f"draft-{mark}")
    await page.goto(f"{base}/console/broadcasts")
    await clean(page, lang, f"list-{mark}")
    await page.goto(f"{base}/console/broadcasts?state=paused")
    await clean(page, lang, f"list-none-{mark}")
    await page.goto(f"{base}/console/broadcasts/bc_none")
    await clean(page, lang, f"not-found-{mark}")


async def test_by_keyboard_alone(browser, shop):
    """The way round: skip link first, every control in its order, the dialog keeps the focus and gives it back."""
    page = await staff(browser, shop, "en")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name=WORDS["en"]["list"]["new"])).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/new$"))
    await page.get_by_label(WORDS["en"]["compose"]["name"], exact=True).focus()
    await page.keyboard.type("By keys")
    await page.locator("#text-en").focus()
    await page.keyboard.type("Member day")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"
    await page.locator("#save").focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_"))
    submit = page.get_by_role("button", name=WORDS["en"]["detail"]["submit"])
    await submit.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#sure-input")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.goto(f"http://127.0.0.1:{shop.port}/console/broadcasts")
    await page.keyboard.press("j")
    await expect(page.locator("a.row").first).to_be_focused()
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_"))
    await expect(page.locator("h1")).to_have_text("By keys")


async def test_nothing_typed_is_lost(browser, shop):
    """The gateway cannot be reached: the page says so and keeps every word."""
    page = await staff(browser, shop, "en")
    await write(page, "en", "Kept", "会员日")
    await page.context.set_offline(True)
    await page.get_by_role("button", name=WORDS["en"]["compose"]["next"]).click()
    await expect(page.locator("#told")).to_contain_text("still here")
    await expect(page.locator("#text-zh-CN")).to_have_value("会员日")
    await page.context.set_offline(False)
    await page.get_by_role("button", name=WORDS["en"]["compose"]["next"]).click()
    await expect(page).to_have_url(re.compile("/console/broadcasts/bc_"))


async def test_a_draft_comes_back_as_it_was_written(browser, shop):
    """Conditions, switches, template, time and variants: changing nothing changes nothing."""
    body = {
        "title": "来回",
        "where": {"any": [
            {"field": "orders.count", "op": ">=", "value": 2}, {"field": "buyer.tags", "op": "in", "value": ["casual", "军旅"]},
            {"field": "orders.last", "op": "within", "value": {"days": 30}}, {"field": "orders.average", "op": "between", "value": ["100", "300"]},
            {"field": "items.product", "op": "in", "value": ["31"], "since": {"days": 90}},
            {"field": "orders.ship", "op": "in", "value": ["delivered", "returned"], "since": "2026-01-01"},
            {"field": "buyer.name", "op": "known", "value": True}, {"field": "consent.marketing", "op": "=", "value": "granted", "account": "sms-main"},
        ]},
        "purpose": "marketing", "text": {"zh-CN": "会员日"}, "accounts": ["sms-main", "sms-cn", "messenger-main"],
        "templates": {"sms-cn": {"template_id": "SMS_48001", "fields": {"day": "{{ day }}", "item": "针织衫", "price": "99"}}},
        "exclude": ["bought_in_1_week"], "holdout_percent": 10, "rate_per_second": 5.5, "send_at": "2027-01-06T02:00:00Z",
        "variants": [{"name": "b", "weight": 2, "where": None, "text": {"zh-CN": "会员日到了"}}],
    }  # fmt: skip
    made = shop.api("POST", "/broadcasts", body)
    assert made.status == 201, made.raw
    id = made.json["id"]
    page = await staff(browser, shop)
    await page.goto(f"http://127.0.0.1:{shop.port}/console/broadcasts/{id}/edit")
    await page.get_by_role("button", name=WORDS["zh-CN"]["compose"]["next"]).click()
    await expect(page).to_have_url(re.compile(f"{id}$"))
    now = shop.get(f"/broadcasts/{id}")
    told = {name: now[name] for name in body if name != "variants"}
    assert told == {name: value for name, value in body.items() if name != "variants"}
    assert [{k: one[k] for k in ("name", "weight", "where", "text")} for one in now["variants"]] == body["variants"]
    assert now["version"] == 2


async def test_the_counter_counts_as_the_gateway(browser, shop):
    """Parts on the page are the parts that are billed."""
    page = await staff(browser, shop)
    await page.goto(f"http://127.0.0.1:{shop.port}/console/broadcasts/new")
    texts = [
        "a" * 160, "a" * 161, "a" * 306, "a" * 307, "[" * 80, "[" * 81, "a" * 152 + "€" * 10, "短" * 70, "短" * 71, "短" * 134, "短" * 135,
        "短" * 66 + "😀" + "短" * 10, "😀" * 35, "😀" * 36, "a" * 159 + "’", "", "é\n\fΩ", "\r",
    ]  # fmt: skip
    script = """async (texts) => {
      const source = document.querySelector('script[src*="compose.js"]').src;
      const { parts } = await import(source);
      return texts.map((text) => [parts(text, false), parts(text, true)]);
    }"""
    counted = await page.evaluate(script, texts)
    for text, (plain, mainland) in zip(texts, counted, strict=True):
        ours, here = sms.count(text), sms.count_mainland(text)
        assert plain == [ours.units, ours.parts] or sum(plain) == ours.units + ours.parts, text
        assert mainland == [here.units, here.parts], text


def test_the_address_of_a_page_holds_nothing_personal(shop):
    """Links on the list are ids; who is signed in stands in no address."""
    assert "%" not in urllib.parse.quote(
        json.dumps([one["id"] for one in shop.all("/broadcasts", 50)])[2:-2].split('"')[0]
    )
