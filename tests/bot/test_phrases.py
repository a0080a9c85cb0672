"""What staff write to many: which texts are read, what they say to a buyer, and that nothing else gets through."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo

import jinja2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bot.clock import DAY_MS
from bot.phrases import MOST_DEEP, VARIABLES, NoValueError, PhraseError, fill, parse, pick, values_of
from bot.records import Buyer, Coupon, Member

NOW = 1_790_000_000_000
SHANGHAI = ZoneInfo("Asia/Shanghai")
names = st.sampled_from(sorted(VARIABLES))
plain = st.text(st.characters(exclude_characters="{}%#｛｝\r", exclude_categories=("Cs",)), max_size=12).filter(
    lambda text: not text.endswith("\n") and not text.startswith("\n")
)
words = st.text(st.characters(exclude_characters="{}\"'\\\n\r", exclude_categories=("Cs", "Cc")), max_size=6)


@st.composite
def texts(draw: st.DrawFn, depth: int = 2) -> str:
    """A text of the subset, as Jinja2 reads it too."""
    found = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(("plain", "bare", "fallback", "if") if depth else ("plain", "fallback")))
        name = draw(names)
        if kind == "plain":
            found.append(draw(plain))
        elif kind == "bare":
            found.append("{{ " + name + " }}")
        elif kind == "fallback":
            found.append("{{" + name + '|default("' + draw(words) + '")}}')
        else:
            inner = [draw(texts(depth=depth - 1)) for _ in range(3)]
            found.append(
                "{% if " + name + " %}" + inner[0] + "{% elif " + draw(names) + " %}" + inner[1] + "{% else %}" + inner[2] + "{% endif %}"
            )  # fmt: skip
    return "".join(found)


@given(texts(), st.dictionaries(names, st.text("王林小满 12", max_size=4)))
def test_it_reads_as_jinja_does(source: str, values: dict[str, str]) -> None:
    """The subset is Jinja2's: the same text, where every value is there or has a fallback."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701  # plain text
    known = {name: value for name, value in values.items() if value}
    theirs = {name: environment.undefined(name=name) for name in VARIABLES} | known
    # An undefined name may not be tested in strict Jinja2; a missing value tests as false here.
    source_for_jinja = source
    for name in VARIABLES:
        for word in ("if", "elif"):
            source_for_jinja = source_for_jinja.replace(f"{{% {word} {name} %}}", f"{{% {word} {name} is defined %}}")
    try:
        expected = environment.from_string(source_for_jinja).render(theirs)
    except jinja2.UndefinedError:
        with pytest.raises(NoValueError):
            fill(source, values)
        return
    assert fill(source, values) == expected


@given(st.text(max_size=200) | st.text('{}% ifname|default("x")endelse\n\'', max_size=60))
@example("{% if name %}" * 400)
@example("{{" * 500)
def test_any_text_is_read_or_refused_in_words(source: str) -> None:
    try:
        phrase = parse(source)
    except PhraseError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert 10 < len(said) < 400
        return
    assert phrase.bare <= phrase.names <= set(VARIABLES)
    assert "{{" not in phrase.fill(dict.fromkeys(VARIABLES, "x"))


@given(texts(), st.dictionaries(names, st.text("王 12", min_size=1, max_size=4)))
def test_bare_names_are_enough(source: str, values: dict[str, str]) -> None:
    """Who has a value for every bare variable gets the text."""
    phrase = parse(source)
    fill(source, {**dict.fromkeys(VARIABLES, ""), **values, **dict.fromkeys(phrase.bare, "x")})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ nmae }}", "there is no variable nmae"),
        ("{{ name.upper() }}", "is not read here"),
        ("{{ name | upper }}", "is not read here"),
        ("{{ 7 * 7 }}", "is not read here"),
        ("{% for x in name %}{% endfor %}", "is not read here"),
        ("{% if name %}您", "no {% endif %}"),
        ("您{% endif %}", "without its"),
        ("{% if name %}a{% else %}b{% elif card %}c{% endif %}", "after {% else %}"),
        ("亲爱的{{ name", "stands alone"),
        ("亲爱的{name}", "two braces"),
        ("亲爱的｛name｝", "two braces"),
        ("{# 备注 #}", "stands alone"),
        ("{% if name %}" * (MOST_DEEP + 1) + "{% endif %}" * (MOST_DEEP + 1), "deep"),
    ],
)
def test_what_is_wrong_is_said(source: str, said: str) -> None:
    with pytest.raises(PhraseError, match=re.escape(said)):
        parse(source)


def test_what_the_variables_say() -> None:
    buyer = Buyer(
        id="b_1",
        home="phone:+8613900001234",
        created_at=0,
        name=" 林小满 ",
        member=Member("801234567890", points=120),
        coupons=[
            Coupon("OLDOLDOLDOLD", "DAY", "claimed", NOW - 1, 1),
            Coupon("USEDUSEDUSED", "DAY", "redeemed", NOW + DAY_MS, 9),
            Coupon("K7QF2M9PXWT4", "DAY", "claimed", NOW + DAY_MS, 5),
            Coupon("ANOTHERANOTH", "OTHER", "claimed", 0, 8),
        ],
    )
    told = values_of(buyer, "zh-CN", now=NOW, zone=SHANGHAI, brand="小满衣橱", campaign="DAY", given={"item": "针织衫"})
    assert told.pop("name:else") == "朋友"
    assert set(told) == set(VARIABLES)
    assert {name: value for name, value in told.items() if value} == {
        "name": "林小满",
        "card": "8012 3456 7890",
        "points": "120",
        "level": "普通会员",
        "coupon": "K7QF2M9PXWT4",
        "until": "9月22日",
        "day": "9月21日",
        "brand": "小满衣橱",
        "item": "针织衫",
    }
    nobody = values_of(Buyer(id="b_2", home="x", created_at=0), "en", now=NOW, zone=SHANGHAI, brand="X")
    assert {name for name, value in nobody.items() if value} == {"day", "brand", "name:else"}
    assert fill("Dear {{ name }}", nobody) == "Dear friend"
    assert fill('Hi{{ name | default("") }}', nobody) == "Hi"


def test_the_text_in_the_buyers_language() -> None:
    both = {"zh-CN": "中", "en": "E"}
    assert pick(both, "en", "zh-CN") == ("en", "E")
    assert pick(both, "zh-TW", "zh-CN") == ("zh-CN", "中")
    assert pick({"zh-TW": "繁", "en": ""}, "en", "zh-CN") == ("zh-TW", "繁")
    assert pick({}, "en", "zh-CN") == ("", "")
