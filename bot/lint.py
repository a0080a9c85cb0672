"""Whether a broadcast's words fit the lanes they are to go by, before anybody gets them. Pure.

Each lane has its own limits: a chat text of WeChat and Messenger (an open window), a text message in parts with its
signature and its way out, an approved template of a mainland line whose variables take no links, no currency signs and few
characters. Faults stop a broadcast; warnings are shown. `docs/broadcasts.md` lists the rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from bot import sms
from bot.broadcasts import Broadcast, Template
from bot.costs import Tariff
from bot.locales import LOCALES
from bot.phrases import LEVELS, OF_ITEMS, Phrase, PhraseError, parse, pick
from bot.ports import Capabilities
from bot.wording import WAY_OUT, with_brand, with_way_out

FIELD_CHARACTERS = 35  # Alibaba's "others" variable: 1 to 35 characters
LONGEST: Mapping[str, str] = {
    "name": "欧阳小满",
    "card": "8012 3456 7890",
    "points": "123456",
    "level": "普通会员",
    "coupon": "K7QF2M9PXWT4",
    "until": "12月30日",
    "day": "12月30日",
    "item": "羊绒针织开衫",
    "price": "1288.00",
    "link": "https://shop.example/",
    "stop": f"https://shop.example/b/{36 * '0'}",
}
"""Long values, as the shipped wordings are counted with: what a variable is taken for where nothing better is known."""
RULES: Mapping[str, str] = {
    "syntax": "{detail}",
    "no_text": "there is no text; write one for {locale}, or for each language of your buyers",
    "missing_locale": "buyers who read {locale} get the text of {instead}",
    "fallback": '{{{{ {name} }}}} has no fallback: who has no value is skipped; write {{{{ {name} | default("…") }}}}',
    "no_item": "{{{{ {name} }}}} needs a product: the broadcast names {count}",
    "no_coupon": "{{{{ {name} }}}} needs a coupon campaign: name it in coupon",
    "offer": "a coupon is an offer: as a service notice it would reach who never agreed to marketing; send it as marketing",
    "too_long": "{units} {unit} with long values; {account} takes {limit}",
    "parts": "a text message of {parts} parts by {account}: {units} of {alone} characters in one ({encoding})",
    "window": "{account} reaches only buyers whose chat is open; the others take the next account, or are skipped",
    "signature": "the signature {signature} is set by the gateway; take other signs than 【】 in the text",
    "way_out": "the way out ({ending}) is added by itself at the end; take yours out",
    "emoji": "a text message with emoji or special signs ({signs}) costs more and may be refused",
    "currency": "write 元 or the currency's code, not {sign}: mainland lines refuse it",
    "link": "{host} is not one of your hosts ([broadcasts] link_hosts = {hosts})",
    "link_hosts": "{host}: name your hosts in [broadcasts] link_hosts, so that no other can be linked to",
    "link_end": "leave a space after {link}, else what follows becomes part of it",
    "words": "“{word}” is true of few offers and may break advertising law: take it out unless a fact stands behind it",
    "tone": "“{word}” is not how a good clerk speaks to a buyer",
    "review_reward": "a reward for a good review is against the law ({word}); reward every review alike, or none",
    "template_missing": "{account} sends approved templates only; name one of {known} in templates",
    "template_unknown": "{account} has no template {template}; there are: {known}",
    "template_unused": "{account} takes free text, no template",
    "template_fields": "template {template} takes {wanted}; given are {given}",
    "template_way_out": "a marketing template ends with 拒收请回复R; template {template} does not",
    "template_marketing": "template {template} is for marketing: it ends with 拒收请回复R",
    "field_empty": "the variable {name} may not be empty",
    "field_long": "the variable {name} takes {units} characters with long values; {account} takes {limit}",
    "field_link": "the variable {name} may hold no link: links stand in the fixed part of a template",
    "field_sign": "the variable {name} may not hold {sign}",
}
"""What each rule says."""
WARNINGS = frozenset(
    "missing_locale fallback parts window way_out emoji link_hosts link_end words tone template_unused".split()
)
_WORDS = re.compile(
    r"最后|最後|仅剩|僅剩|马上涨价|馬上漲價|第一(?![次单單天批件])|最(?!近)|last chance|only \d+ left|price goes up|number one|no\. ?1\b|\bbest\b",
    re.IGNORECASE,
)
_TONE = re.compile(r"[!！]|亲(?=[,，]|$)|家人们|宝宝", re.IGNORECASE)
_REVIEW = re.compile(
    r"(好评|好評|五星|5星|positive review|5-star|five-star)[^。.\n]{0,20}(返|送|领|領|奖|獎|红包|紅包|券|积分|積分|礼|禮|reward|coupon|gift|points|cash)",
    re.IGNORECASE,
)
_URL = re.compile(r"(?:https?://)?((?:[a-z0-9-]+\.)+[a-z]{2,})(?::\d+)?(/[^\s，。；、！？）】]*)?", re.IGNORECASE)
_CURRENCY = re.compile("[¥￥$]")
_BRACKETS = re.compile("[【】]")
_OWN_WAY_OUT = re.compile(r"退订回|退訂回|回T|回TD|拒收|reply stop|stop to opt out|unsubscribe", re.IGNORECASE)
_EMOJI = frozenset(map(chr, [*range(0x2600, 0x27C0), *range(0x1F000, 0x20000)]))
_FIELD = re.compile(r"\$\{(\w+)\}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Approved:
    """A template that the provider approved: its text with `${variable}`, and how long a variable may be."""

    text: str
    longest: int = FIELD_CHARACTERS

    @property
    def fields(self) -> tuple[str, ...]:
        """The variables, in their order."""
        return tuple(dict.fromkeys(_FIELD.findall(self.text)))

    def filled(self, values: Mapping[str, str]) -> str:
        """The text with its variables."""
        return _FIELD.sub(lambda found: values.get(found[1], ""), self.text)


@dataclass(frozen=True, slots=True)
class Lane:
    """One account as a way out. `templates`: what is approved there by id; `signature`: what stands in 【】, if not the brand."""

    account: str
    able: Capabilities
    templates: Mapping[str, Approved] = field(default_factory=dict)
    tariff: Tariff | None = None
    signature: str = ""


@dataclass(frozen=True, slots=True)
class Shop:
    """What the shop's texts are checked with. `hosts`: where links may lead to, empty: not said."""

    brand: str
    locale: str = "zh-CN"
    brands: Mapping[str, str] = field(default_factory=dict)
    hosts: frozenset[str] = frozenset()
    levels: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: LEVELS)

    def called(self, locale: str) -> str:
        """The brand in a language."""
        return self.brands.get(locale, self.brand)


class Finding(Struct, frozen=True):
    """One thing to change (fault) or to know (warning). `field` as in the API: `text.zh-CN`, `templates.sms-cn.fields.item`."""

    field: str
    rule: str
    level: Literal["fault", "warning"]
    account: str = ""
    args: dict[str, str] = {}  # of the rule's words  # msgspec copies it

    @property
    def detail(self) -> str:
        """In English."""
        return RULES[self.rule].format(**self.args)


class Case(Struct, frozen=True):
    """The dearest text of an account: what it says with long values, its length, and the parts that it is billed as."""

    account: str
    locale: str
    variant: str
    text: str
    units: int
    limit: int  # 0: none
    parts: int = 0
    encoding: str = ""


def spoken(text: str, lane: Lane, shop: Shop, locale: str, purpose: str) -> str:
    """A text as it leaves: by SMS with the brand before it, marketing with the way out behind it."""
    if not lane.able.sms:
        return text
    branded = with_brand(text, lane.signature or shop.called(locale), locale)
    return with_way_out(branded, locale) if purpose == "marketing" else branded


def lint(
    broadcast: Broadcast, lanes: Sequence[Lane], shop: Shop, longest: Mapping[str, str] | None = None
) -> list[Finding]:
    """Everything that is wrong or worth knowing, faults first. `lanes`: the broadcast's accounts; `longest`: known long values."""
    long = {**_long(broadcast, shop), **(longest or {})}
    found: list[Finding] = []
    free = any(lane.able.free_text for lane in lanes)
    if broadcast.coupon and broadcast.purpose == "service":
        found.append(_make("purpose", "offer"))
    for where, texts in _texts(broadcast):
        found += _locales(where, texts, shop, needed=free and where == "text")
        for locale, text in sorted(texts.items()):
            found += _text(f"{where}.{locale}", locale, text, broadcast, lanes, shop, long)
    for lane in lanes:
        found += _lane(broadcast, lane, long)
    unique = {(one.field, one.rule, one.account, tuple(one.args.items())): one for one in found}
    return sorted(unique.values(), key=lambda one: one.level != "fault")


def cases(
    broadcast: Broadcast, lanes: Sequence[Lane], shop: Shop, longest: Mapping[str, str] | None = None
) -> list[Case]:
    """For each account the dearest of its texts: most parts, then longest."""
    long = {**_long(broadcast, shop), **(longest or {})}
    found = []
    for lane in lanes:
        texts = [*_cases_of(broadcast, lane, shop, long)]
        if texts:
            found.append(max(texts, key=lambda case: (case.parts, case.units)))
    return found


def _cases_of(broadcast: Broadcast, lane: Lane, shop: Shop, long: Mapping[str, str]) -> Iterator[Case]:
    if not lane.able.free_text:
        template = broadcast.templates.get(lane.account)
        approved = lane.templates.get(template.template_id) if template else None
        if template and approved:
            values = {name: _filled(source, long) for name, source in template.fields.items()}
            text = with_brand(approved.filled(values), lane.signature or shop.brand, "zh-CN")
            yield _case(lane, "", "", text)
        return
    for where, texts in _texts(broadcast):
        variant = where.split(".")[1] if where.startswith("variants.") else ""
        for locale, source in texts.items():
            text = spoken(
                _filled(source, {**long, "brand": shop.called(locale)}), lane, shop, locale, broadcast.purpose
            )
            yield _case(lane, locale, variant, text)


def _case(lane: Lane, locale: str, variant: str, text: str) -> Case:
    able = lane.able
    if not able.sms:
        return Case(lane.account, locale, variant, text, length(text, able), able.text_limit)
    counted = sms.count_mainland(text) if able.mainland_parts else sms.count(text)
    return Case(lane.account, locale, variant, text, counted.units, able.text_limit, counted.parts, counted.encoding)


def length(text: str, able: Capabilities) -> int:
    """A text's length as the lane counts it: bytes of UTF-8, or characters."""
    return len(text.encode("utf-8", "surrogatepass")) if able.limit_in_bytes else len(text)


# --- texts ------------------------------------------------------------------------------------------------------------


def _texts(broadcast: Broadcast) -> Iterator[tuple[str, Mapping[str, str]]]:
    yield "text", broadcast.text
    for variant in broadcast.variants:
        yield f"variants.{variant.name}.text", variant.text


def _long(broadcast: Broadcast, shop: Shop) -> dict[str, str]:
    known = {**LONGEST, **{name: LONGEST[name.rstrip("0123456789")] for name in OF_ITEMS}, "brand": shop.brand}
    names = [name for names in shop.levels.values() for name in names.values()]
    known["level"] = max(LONGEST["level"], *names, key=len)
    return {**known, **{name: value for name, value in broadcast.given.items() if value}}


def _filled(source: str, values: Mapping[str, str]) -> str:
    try:
        return parse(source).fill(values)
    except PhraseError:
        return source


def _make(where: str, rule: str, account: str = "", **args: object) -> Finding:
    level: Literal["fault", "warning"] = "warning" if rule in WARNINGS else "fault"
    said = {"account": account} if account else {}
    return Finding(where, rule, level, account, said | {name: str(value) for name, value in args.items()})


def _locales(where: str, texts: Mapping[str, str], shop: Shop, *, needed: bool) -> Iterator[Finding]:
    if not any(text.strip() for text in texts.values()):
        if needed:
            yield _make(where, "no_text", locale=shop.locale)
        return
    for locale in LOCALES:
        if not texts.get(locale, "").strip() and needed:
            yield _make(
                f"{where}.{locale}", "missing_locale", locale=locale, instead=pick(texts, locale, shop.locale)[0]
            )


def _text(
    where: str, locale: str, text: str, broadcast: Broadcast, lanes: Sequence[Lane], shop: Shop, long: Mapping[str, str]
) -> Iterator[Finding]:
    try:
        phrase = parse(text)
    except PhraseError as error:
        yield _make(where, "syntax", detail=error)
        return
    yield from _variables(where, phrase, broadcast)
    filled = phrase.fill({**long, "brand": shop.called(locale)})
    yield from _style(where, text)
    yield from _links(where, filled, shop)
    for lane in lanes:
        if lane.able.free_text:
            yield from _limits(where, filled, lane, shop, locale, broadcast.purpose)


def _variables(where: str, phrase: Phrase, broadcast: Broadcast) -> Iterator[Finding]:
    for name in sorted(phrase.names):
        if name in OF_ITEMS:
            number = int(name.lstrip("abcdefghijklmnopqrstuvwxyz") or 1)
            if number > len(broadcast.items) and name in phrase.bare:
                yield _make(where, "no_item", name=name, count=len(broadcast.items))
        elif name in ("coupon", "until") and not broadcast.coupon:
            yield _make(where, "no_coupon", name=name)
        elif name in phrase.bare and name not in ("brand", "day", "name"):
            yield _make(where, "fallback", name=name)


def _style(where: str, text: str) -> Iterator[Finding]:
    for rule, pattern in (("words", _WORDS), ("tone", _TONE), ("review_reward", _REVIEW)):
        for word in dict.fromkeys(found[0] for found in pattern.finditer(text)):
            yield _make(where, rule, word=word)


def _links(where: str, text: str, shop: Shop) -> Iterator[Finding]:
    for found in _URL.finditer(text):
        host = found[1].lower()
        if shop.hosts and not any(host == own or host.endswith(f".{own}") for own in shop.hosts):
            yield _make(where, "link", host=host, hosts=", ".join(sorted(shop.hosts)))
        elif not shop.hosts:
            yield _make(where, "link_hosts", host=host)
        if found.end() < len(text) and not text[found.end()].isspace():
            yield _make(where, "link_end", link=found[0])


def _limits(where: str, text: str, lane: Lane, shop: Shop, locale: str, purpose: str) -> Iterator[Finding]:
    able, account = lane.able, lane.account
    if able.sms:
        yield from _by_sms(where, text, lane, shop, locale, purpose)
    elif able.windows:
        yield _make("accounts", "window", account)
    whole = spoken(text, lane, shop, locale, purpose)
    if able.text_limit and length(whole, able) > able.text_limit:
        unit = "bytes" if able.limit_in_bytes else "characters"
        units, limit = length(whole, able), able.text_limit
        yield _make(where, "too_long", account, units=units, unit=unit, limit=limit)


def _by_sms(where: str, text: str, lane: Lane, shop: Shop, locale: str, purpose: str) -> Iterator[Finding]:
    name = lane.signature or shop.called(locale)
    own = with_brand("", name, locale)
    body = text.removeprefix(own)
    if _BRACKETS.search(body):
        yield _make(where, "signature", lane.account, signature=own.strip())
    ending = WAY_OUT.get(locale, WAY_OUT["zh-CN"])
    if purpose == "marketing" and _OWN_WAY_OUT.search(body.removesuffix(ending)):
        yield _make(where, "way_out", lane.account, ending=ending)
    if signs := "".join(dict.fromkeys(c for c in body if c in _EMOJI)):
        yield _make(where, "emoji", lane.account, signs=signs[:10])
    if locale.startswith("zh") and (sign := _CURRENCY.search(body)):
        yield _make(where, "currency", lane.account, sign=sign[0])
    case = _case(lane, locale, "", spoken(text, lane, shop, locale, purpose))
    if case.parts > 1:
        alone = 160 if case.encoding == "gsm7" else 70
        yield _make(
            where, "parts", lane.account,
            parts=case.parts, units=case.units, alone=alone, encoding=case.encoding,
        )  # fmt: skip


# --- templates --------------------------------------------------------------------------------------------------------


def _lane(broadcast: Broadcast, lane: Lane, long: Mapping[str, str]) -> Iterator[Finding]:
    template, where = broadcast.templates.get(lane.account), f"templates.{lane.account}"
    known = ", ".join(sorted(lane.templates)) or "none; enter one in [broadcasts.templates]"
    if lane.able.free_text:
        if template is not None:
            yield _make(where, "template_unused", lane.account)
        return
    if template is None:
        yield _make(where, "template_missing", lane.account, known=known)
        return
    approved = lane.templates.get(template.template_id)
    if approved is None:
        words = {"template": template.template_id, "known": known}
        yield _make(f"{where}.template_id", "template_unknown", lane.account, **words)
        return
    yield from _template(where, template, approved, lane, broadcast, long)


def _template(
    where: str, template: Template, approved: Approved, lane: Lane, broadcast: Broadcast, long: Mapping[str, str]
) -> Iterator[Finding]:
    wanted, given = set(approved.fields), set(template.fields)
    if wanted != given:
        words = {"wanted": ", ".join(approved.fields) or "none", "given": ", ".join(sorted(given)) or "none"}
        yield _make(f"{where}.fields", "template_fields", lane.account, template=template.template_id, **words)
    ends = approved.text.rstrip().endswith(WAY_OUT["zh-CN"])
    if ends != (broadcast.purpose == "marketing"):
        rule = "template_marketing" if ends else "template_way_out"
        yield _make(f"{where}.template_id", rule, lane.account, template=template.template_id)
    for name, source in template.fields.items():
        try:
            phrase = parse(source)
        except PhraseError as error:
            yield _make(f"{where}.fields.{name}", "syntax", lane.account, detail=error)
            continue
        yield from _variables(f"{where}.fields.{name}", phrase, broadcast)
        yield from _field(f"{where}.fields.{name}", name, phrase.fill(long), approved.longest, lane.account)


def _field(where: str, name: str, text: str, limit: int, account: str) -> Iterator[Finding]:
    if not text.strip():
        yield _make(where, "field_empty", account, name=name)
    if len(text) > limit:
        yield _make(where, "field_long", account, name=name, units=len(text), limit=limit)
    if _URL.search(text):
        yield _make(where, "field_link", account, name=name)
    for pattern in (_CURRENCY, _BRACKETS):
        if sign := pattern.search(text):
            yield _make(where, "field_sign", account, name=name, sign=sign[0])


def field_fault(text: str, limit: int = FIELD_CHARACTERS) -> bool:
    """Whether a filled variable of an approved template would be refused: known only once a buyer's own values are in it."""
    return next(_field("", "", text, limit, ""), None) is not None
