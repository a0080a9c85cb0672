"""Encoding of events and records: MessagePack behind one version byte.

A reader takes every version up to its own; fields are only ever added, with defaults, so that two releases can run side
by side (rolling upgrade). A value of a newer version is refused, never guessed at.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from bot import ids, subjects
from bot.errors import GatewayError
from bot.events import Event
from bot.messages import OutboundMessage
from bot.records import Record

VERSION = 1
_PREFIX = bytes([VERSION])

_encoder = msgspec.msgpack.Encoder(decimal_format="string")
_event_decoder = msgspec.msgpack.Decoder(Event)
_record_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_message_decoder = msgspec.msgpack.Decoder(OutboundMessage)

T = TypeVar("T")


class CodecError(GatewayError):
    """Stored bytes that cannot be read: of a newer release, or damaged."""


def pack(value: object) -> bytes:
    """Plain MessagePack, without a version byte: arguments of scripts."""
    return _encoder.encode(value)


def _dump(value: object) -> bytes:
    return _PREFIX + _encoder.encode(value)


def _load(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    if not data or data[0] > VERSION:
        raise CodecError(f"{what} of an unknown version")
    try:
        return decoder.decode(memoryview(data)[1:])
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise CodecError(f"{what} cannot be decoded") from error


def dump_event(event: Event) -> bytes:
    """An event's stored form."""
    return _dump(event)


def dump_entry(event: Event) -> tuple[str, bytes, bytes]:
    """An event as the inbox takes it: the subject where its record is kept, digest, stored form."""
    return subjects.home(event.subject), ids.digest(event.id), dump_event(event)


def load_event(data: bytes) -> Event:
    """An event from its stored form. Raises CodecError."""
    return _load(_event_decoder, data, "event")


def dump_record(record: Record) -> bytes:
    """A record's stored form."""
    return _dump(record)


def load_record(data: bytes) -> Record:
    """A record from its stored form. Raises CodecError."""
    return _load(_record_decoder, data, "record")


def dump_message(message: OutboundMessage) -> bytes:
    """A message's stored form."""
    return _dump(message)


def load_message(data: bytes) -> OutboundMessage:
    """A message from its stored form. Raises CodecError."""
    return _load(_message_decoder, data, "message")
