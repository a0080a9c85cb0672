"""Leave for single notices: used at most as often as it was given, whatever comes twice, late or from a merge."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from bot import buyers, grants
from bot.codec import dump_record, load_record
from bot.events import GrantChanged
from bot.records import Address, Buyer

T = "tplFAKE1"


def yes(at: int, address: Address, template: str = T) -> None:
    grants.change(address, GrantChanged(template, "given", "page"), at)


def no(at: int, address: Address, template: str = T) -> None:
    grants.change(address, GrantChanged(template, "taken", "page"), at)


def test_each_yes_is_good_for_one():
    """Two taps, two notices; each template for itself; the evidence is of the last answer."""
    address = Address("wechat", "o1")
    yes(10, address)
    yes(20, address)
    yes(30, address, "other")
    assert (grants.left(address, T), grants.left(address, "other"), grants.left(address, "none")) == (2, 1, 0)
    assert grants.oldest(address, T) == 10
    grants.use(address, T, "m1")
    assert (grants.left(address, T), grants.oldest(address, T), address.grants[T].out) == (1, 20, ["m1"])
    grant = address.grants[T]
    assert (grant.at, grant.verdict, grant.source) == (20, "granted", "page")


def test_a_no_ends_what_was_given_before_it_and_nothing_that_came_after():
    """Whatever order the two arrive in."""
    for events in (
        [(10, yes), (20, no), (30, yes)],
        [(30, yes), (10, yes), (20, no)],
        [(20, no), (30, yes), (10, yes)],
    ):
        address = Address("wechat", "o1")
        for at, what in events:
            what(at, address)
        assert (grants.left(address, T), grants.oldest(address, T)) == (1, 30)
        assert address.grants[T].verdict == "granted"
    no(40, address)
    assert (grants.left(address, T), address.grants[T].verdict) == (0, "refused")


def test_what_was_not_sent_is_good_for_another_unless_a_no_came_since():
    """The same yes, with its own time; a no between the two holds for it."""
    address = Address("wechat", "o1")
    yes(10, address)
    grants.use(address, T, "m1")
    back = GrantChanged(T, "back", message="m1")
    assert grants.change(address, back, 10)
    assert (grants.left(address, T), address.grants[T].out) == (1, [])
    grants.use(address, T, "m2")
    no(20, address)
    assert grants.is_void(address, T, 10)
    assert not grants.change(address, GrantChanged(T, "back", message="m2"), 10)
    assert grants.left(address, T) == 0
    assert not grants.is_void(address, T, 21)
    assert not grants.is_void(None, T, 10)


def test_the_provider_knows_of_none():
    """Then what was given until the message was planned is void; a yes after that is not."""
    address = Address("wechat", "o1")
    for at in (10, 11, 50):
        yes(at, address)
    grants.change(address, GrantChanged(T, "void"), 40)
    assert (grants.left(address, T), grants.oldest(address, T)) == (1, 50)


def test_leaving_the_account_ends_it_and_a_new_yes_begins_it():
    """Who unfollowed said no to what was allowed before; a yes on a page after that is one."""
    address = Address("wechat", "o1")
    yes(10, address)
    address.left_at = 20
    assert grants.left(address, T) == 0
    yes(30, address)
    assert (grants.left(address, T), grants.oldest(address, T)) == (1, 30)
    grants.use(address, T, "m1")
    assert grants.left(address, T) == 0


def test_what_is_kept_stays_small_and_survives_the_record():
    """However often somebody taps, or whatever templates a provider names."""
    address = Address("wechat", "o1")
    for at in range(1, 100):
        yes(at, address)
        yes(at, address, f"t{at}")
    assert grants.left(address, T) == grants.MOST_LEFT
    assert len(address.grants) == grants.MOST_TEMPLATES
    for number in range(grants.MOST_LEFT):
        grants.use(address, T, f"m{number}")
    assert len(address.grants[T].out) == grants.MOST_OUT
    grants.told(address, "m3")
    assert "m3" not in address.grants[T].out
    buyer = Buyer("b1", "address:wechat:o1", 1, addresses=[address])
    assert load_record(dump_record(buyer)) == buyer


def test_a_merge_keeps_what_was_allowed_and_the_stricter_no():
    """The same chat under two records: each tap once, a no of either ends what was before it."""
    mine, theirs = Address("wechat", "o1"), Address("wechat", "o1")
    for at in (10, 30):
        yes(at, mine)
    yes(20, theirs)
    yes(40, theirs)
    no(25, theirs)
    yes(5, theirs, "other")
    survivor = Buyer("b1", "address:wechat:o1", 1, addresses=[mine])
    buyers.merge(survivor, Buyer("b2", "phone:+8613900001234", 2, addresses=[theirs]))
    [found] = survivor.addresses
    assert (found.grants[T].given, found.grants["other"].given) == ([30, 40], [5])
    assert (found.grants[T].at, found.grants[T].verdict) == (40, "granted")


class Leaves(RuleBasedStateMachine):
    """Taps, refusals, sends, failures and merges in any order: what goes out never exceeds what a buyer allowed and did not take back."""

    unsent = Bundle("unsent")

    @initialize()
    def begin(self) -> None:
        self.address = Address("wechat", "o1")
        self.now = 0
        self.given: set[int] = set()
        self.gone: dict[str, int] = {}
        self.refused_at = 0

    @rule()
    def taps(self) -> None:
        self.now += 1
        self.given.add(self.now)
        yes(self.now, self.address)

    @rule(ago=st.integers(0, 5))
    def refuses(self, ago: int) -> None:
        at = max(1, self.now - ago)
        no(at, self.address)
        self.refused_at = max(self.refused_at, at)

    @rule(target=unsent)
    def plans(self) -> tuple[str, int]:
        self.now += 1
        if not grants.left(self.address, T):
            return "", 0
        at, id = grants.oldest(self.address, T), f"m{self.now}"
        assert at in self.given
        assert at > self.refused_at, "a no before the message"
        grants.use(self.address, T, id)
        return id, at

    @rule(message=consumes(unsent))
    def goes(self, message: tuple[str, int]) -> None:
        id, at = message
        if id and not grants.is_void(self.address, T, at):
            self.gone[id] = at

    @rule(message=consumes(unsent))
    def fails(self, message: tuple[str, int]) -> None:
        if message[0]:
            grants.change(self.address, GrantChanged(T, "back", message=message[0]), message[1])

    @rule(data=st.data())
    def merges(self, data: st.DataObject) -> None:
        """Half of what is known of the address comes with another record."""
        mine, theirs = Address("wechat", "o1"), Address("wechat", "o1")
        for template, grant in self.address.grants.items():
            part = data.draw(st.integers(0, len(grant.given)))
            for place, given in ((mine, grant.given[:part]), (theirs, grant.given[part:])):
                place.grants[template] = type(grant)(given, grant.void_until if place is mine else 0)
        grants.join(mine, theirs.grants)
        self.address = mine

    @invariant()
    def no_yes_is_used_twice(self) -> None:
        used = list(self.gone.values())
        assert len(used) == len(set(used))
        assert set(used) <= self.given
        kept = self.address.grants[T].given if T in self.address.grants else []
        assert not set(used) & set(kept)


TestLeaves = Leaves.TestCase
