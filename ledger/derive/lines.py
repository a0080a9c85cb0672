"""Rows that only grow: the timeline, decisions with their rules, answers about consent."""

from __future__ import annotations

import json

from bot.broadcasts import SOURCE
from bot.events import Event, MessageReceived, Ms, Tapped
from bot.journal import DecisionRecord, RuleVerdict, SendEntry, UnplannedEntry
from bot.reasons import Rule, SkipReason
from ledger.derive.entries import Entry, Turn
from ledger.derive.keys import order_subject
from ledger.derive.messages import unplanned_id
from ledger.derive.state import Row, State

LONGEST_SAID = 200
Line = tuple[Ms, str, str, str]
"""When, kind, words, the id that it is about."""


def _place(entry: Entry, line: int) -> Row:
    return {"partition": entry.partition, "ms": entry.ms, "seq": entry.seq, "line": line}


def turn(entry: Entry, turn: Turn, state: State) -> None:
    """What a turn adds to its buyer's timeline."""
    if turn.entry.buyer:
        _tell(entry, turn.entry.buyer, turn_lines(turn), state)


def sent(entry: Entry, send: SendEntry, state: State) -> None:
    """What became of a message, for its buyer's timeline."""
    if send.buyer and send.state != "queued":
        why = f" ({send.reason})" if send.reason else ""
        line = (send.at, f"message.{send.state}", f"{send.purpose} on {send.account}{why}", send.id)
        _tell(entry, send.buyer, [line], state)


def _tell(entry: Entry, buyer: str, lines: list[Line], state: State) -> None:
    for number, (at, kind, summary, ref) in enumerate(lines):
        words: Row = {"buyer": buyer, "at": at, "kind": kind, "summary": summary, "ref": ref}
        state.timeline.append(_place(entry, number) | words)


def turn_lines(turn: Turn) -> list[Line]:
    """The lines of a turn, in their order."""
    at = turn.entry.at
    lines = _event_line(turn.event, at, turn.entry.handler)
    lines += [(at, note.kind, note.summary, "") for note in turn.entry.notes]
    for decision in turn.entry.decisions:
        lines.append((at, f"decision.{decision.outcome}", _said(decision), decision.message))
    lines += [(at, "task", f"{task.kind} {task.state}", task.id) for task in turn.tasks]
    return lines


def _said(decision: DecisionRecord) -> str:
    why = f" ({decision.reason})" if decision.reason else ""
    return f"{decision.outcome}: {decision.key or decision.source}{why}"


def _event_line(event: Event | None, at: Ms, handler: str) -> list[Line]:
    body = event.body if event is not None else None
    if isinstance(body, MessageReceived | Tapped):
        said = body.text if isinstance(body, MessageReceived) else body.title
        return [(at, "message.received", said[:LONGEST_SAID] or "(no text)", "")]
    return [(at, "event", handler, "")] if handler else []


def decisions(entry: Entry, turn: Turn, state: State) -> None:
    """What a turn decided, each with its rules."""
    for number, found in enumerate(turn.entry.decisions):
        state.decisions.append(_place(entry, number) | _decision(found))


def _decision(found: DecisionRecord) -> Row:
    rules = [{n: getattr(rule, n) for n in rule.__struct_fields__} for rule in found.rules]
    return {
        "message": found.message,
        "buyer": found.buyer,
        "purpose": found.purpose,
        "outcome": found.outcome,
        "source": found.source,
        "key": found.key,
        "account": found.account,
        "reason": found.reason,
        "order_id": found.order,
        "order_subject": order_subject(found.key, found.order),
        "at": found.at,
        "until": found.until,
        "rules": json.dumps(rules, ensure_ascii=False, separators=(",", ":")),
        "denied_by": _denied_by(found),
    }


def unplanned(entry: Entry, told: UnplannedEntry, state: State) -> None:
    """Whom a cancelled broadcast had not come to: the decision, and a line of the buyer's timeline, as of a turn that skips."""
    source, key, reason = f"{SOURCE}{told.broadcast}", f"broadcast/{told.broadcast}", SkipReason.CANCELLED
    rules = [RuleVerdict(Rule.BROADCAST, "deny")]
    for number, buyer in enumerate(told.buyers):
        message = unplanned_id(entry, told, buyer)
        found = DecisionRecord(message, buyer, told.purpose, "skip", told.at, source, key, reason=reason, rules=rules)
        state.decisions.append(_place(entry, number) | _decision(found))
        words: Row = {"buyer": buyer, "at": told.at, "kind": "decision.skip", "summary": _said(found), "ref": message}
        state.timeline.append(_place(entry, number) | words)


def _denied_by(found: DecisionRecord) -> str:
    if found.outcome == "send":
        return ""
    verdict = "deny" if found.outcome == "skip" else "defer"
    return next((rule.rule for rule in reversed(found.rules) if rule.verdict == verdict), "")


def consents(entry: Entry, turn: Turn, state: State) -> None:
    """The answers that a turn took, as they were given."""
    for number, found in enumerate(turn.entry.consents):
        row: Row = {
            "buyer": turn.entry.buyer,
            "account": found.account,
            "address": found.address,
            "topic": found.topic,
            "verdict": found.verdict,
            "at": found.at,
            "wording": found.wording,
            "source": found.source,
            "ip": found.ip,
            "browser": found.browser,
            "kept_until": 0,
        }
        state.consents.append(_place(entry, number) | row)
