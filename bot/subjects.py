"""Subjects: the strings that name a record's home, and the partition they hash to for ever."""

from __future__ import annotations

from zlib import crc32


def address(account: str, id: str) -> str:
    """The subject of a buyer's address: channel account + the buyer's id there."""
    return f"address:{account}:{id}"


def order(shop: str, id: str) -> str:
    """The subject of one order of a shop."""
    return f"order:{shop}:{id}"


def cart(shop: str, token: str) -> str:
    """The subject of one cart or checkout of a shop."""
    return f"cart:{shop}:{token}"


def parcel(carrier: str, number: str) -> str:
    """The subject of a parcel by carrier and tracking number (or shop and shipment id where those are unknown)."""
    return f"parcel:{carrier}:{number}"


def product(shop: str, id: str) -> str:
    """The subject of one product of a shop's catalogue."""
    return f"product:{shop}:{id}"


def card(number: str) -> str:
    """The subject of a member card's number, in the partition that the number names."""
    return f"card:{number}"


def phone(e164: str) -> str:
    """The subject of a phone number, E.164 with plus."""
    return f"phone:{e164}"


def shopper(shop: str, ref: str) -> str:
    """The subject of a shop's own customer reference."""
    return f"shopper:{shop}:{ref}"


def email(mail: str) -> str:
    """The subject of an e-mail address, case folded."""
    return f"email:{mail.casefold()}"


def account(name: str) -> str:
    """The subject of events about a configured account itself."""
    return f"account:{name}"


def kind(subject: str) -> str:
    """`address`, `order`, `cart`, `parcel`, `product`, `phone`, `shopper`, `email` or `account`."""
    return subject.partition(":")[0]


def split_address(subject: str) -> tuple[str, str]:
    """Account and id of an address subject."""
    _, account_name, id = subject.split(":", 2)
    return account_name, id


def home(subject: str) -> str:
    """Where a subject's record is kept: an address that is a phone number (E.164 with plus) is kept with the number.

    So a text needs no link, and no second turn, to find its buyer.
    """
    if subject.startswith("address:"):
        id = subject.split(":", 2)[2]
        if id.startswith("+"):
            return phone(id)
    return subject


def partition_of(subject: str, partitions: int) -> int:
    """The partition of a subject. Never change this: records stay where it once put them."""
    return crc32(subject.encode()) % partitions
