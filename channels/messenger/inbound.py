"""What Meta posts, as events. Pure and total: an item that cannot be read is counted, never raised.

Event ids are `<page id>|<key>`; the keys are those by which Meta's repeats are recognised: a message's or postback's mid,
else what happened, to whom and when. Statuses have none: a message only moves forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bot import subjects
from bot.events import (
    AccountAlert,
    Body,
    Event,
    Followed,
    MessageReceived,
    Ms,
    OptChanged,
    Scanned,
    StaffReleased,
    StaffSpoke,
    StaffTook,
    StatusReported,
    Tapped,
)
from channels.messenger.wire import (
    COUNTED,
    GET_STARTED,
    PAGE_INBOX_APPS,
    PAYLOAD_LIMIT,
    THUMBS_UP,
    id_of,
    is_phone,
    label,
    media_of,
    ours,
    rows,
    short,
    table,
    text,
    time_of,
)

_KINDS = (
    "delivery",
    "read",
    "postback",
    "referral",
    "optin",
    "order",
    "take_thread_control",
    "pass_thread_control",
    "reaction",
)


@dataclass(frozen=True, slots=True)
class _Thread:
    """Who an item is about. `stamp` is Meta's own time for ids (0: none given), `at` the time to count from."""

    account: str
    page: str
    psid: str
    stamp: Ms
    at: Ms


class Reader:
    """Reads one webhook: `pages` maps page ids to account names, `own_app` is the app that sends for us."""

    def __init__(self, pages: Mapping[str, str], own_app: str, received: Ms) -> None:
        self._pages = pages
        self._own_app = own_app
        self._received = received
        self.events: list[Event] = []
        self.ignored: list[str] = []

    def read(self, value: Mapping[str, Any]) -> None:
        """Collects the events of every entry."""
        if value.get("object") != "page":
            self.ignored.append(f"object {label(text(value, 'object'))}")
            return
        for entry in rows(value.get("entry")):
            if isinstance(entry, dict):
                self._entry(entry)
            else:
                self.ignored.append("entry that is no object")

    def _entry(self, entry: Mapping[str, Any]) -> None:
        page = text(entry, "id", 100)
        if page not in self._pages:
            self.ignored.append("page that is not configured")
            return
        for place in ("messaging", "standby"):
            for item in rows(entry.get(place)):
                if isinstance(item, dict):
                    self._item(page, item, time_of(entry.get("time")), standby=place == "standby")
                else:
                    self.ignored.append("item that is no object")
        self.ignored += [f"change {label(text(table(change), 'field'))}" for change in rows(entry.get("changes"))]

    def _item(self, page: str, item: Mapping[str, Any], entry_time: Ms, *, standby: bool) -> None:
        sender, recipient = id_of(item, "sender"), id_of(item, "recipient")
        stamp = time_of(item.get("timestamp")) or entry_time
        psid = recipient if sender == page else sender
        thread = _Thread(self._pages[page], page, "" if psid == page else psid, stamp, stamp or self._received)
        if "policy_enforcement" in item:
            self._policy(thread, table(item["policy_enforcement"]))
        elif not thread.psid:
            known = next((name for name in COUNTED if name in item), "")
            self.ignored.append(known or "item without a buyer")
        elif isinstance(item.get("message"), dict):
            self._said(thread, item["message"], standby=standby)
        else:
            self._other(thread, item, standby=standby)

    def _add(self, thread: _Thread, key: str, body: Body) -> None:
        id = f"{thread.page}|{key}" if key else ""
        subject = subjects.address(thread.account, thread.psid)
        self.events.append(Event(id, subject, thread.account, thread.at, self._received, body))

    # --- messages -------------------------------------------------------------------------------------------------

    def _said(self, thread: _Thread, message: Mapping[str, Any], *, standby: bool) -> None:
        if message.get("is_echo"):
            self._echo(thread, message)
        elif message.get("is_deleted"):
            self.ignored.append("deleted message")
        else:
            self._message(thread, message, overheard=standby)

    def _message(self, thread: _Thread, message: Mapping[str, Any], *, overheard: bool) -> None:
        """What a buyer wrote; `overheard`: another app answers, but the window opens and a stop word holds."""
        words, media = text(message, "text", 8000), media_of(message)
        payload, phone = text(table(message.get("quick_reply")), "payload", PAYLOAD_LIMIT), ""
        if payload and payload == words:  # a phone number or e-mail address that the buyer's app handed over
            phone, payload = (payload if is_phone(payload) else ""), ""
        if not words and any(one.kind == "sticker" and one.ref in THUMBS_UP for one in media):
            words = "👍"
        body = MessageReceived(
            text=words,
            kind="text" if words or payload else media[0].kind if media else "other",
            payload=payload,
            media=media,
            phone=phone,
            referral=text(table(message.get("referral")), "ref"),
            overheard=overheard,
        )
        mid = text(message, "mid")
        self._add(thread, mid or f"message|{short(f'{thread.psid}|{thread.stamp}|{words}')}", body)

    def _echo(self, thread: _Thread, message: Mapping[str, Any]) -> None:
        """A message of the page: ours, our app's without our id, or a person's.

        Our id in the metadata decides before `app_id` does: with a wrong app id in the settings the bot would else take
        its own words for staff's and fall silent.
        """
        app, mid, metadata = text(message, "app_id"), text(message, "mid"), text(message, "metadata", 1000)
        if ours(metadata):
            if "/" in metadata:
                self.ignored.append("echo of an earlier piece")
            else:
                self._add(thread, "", StatusReported(state="sent", ref=metadata, provider_id=mid))
        elif app and app == self._own_app:
            self.ignored.append("echo of our app without our id")
        else:
            said = text(message, "text", 2000)
            key = mid or f"echo|{short(f'{thread.psid}|{thread.stamp}|{said}')}"
            self._add(thread, key, StaffSpoke(text=said, by=_app_name(app)))

    # --- everything else ------------------------------------------------------------------------------------------

    def _other(self, thread: _Thread, item: Mapping[str, Any], *, standby: bool) -> None:
        name = next((one for one in _KINDS if one in item), "")
        value = table(item.get(name))
        if standby and not _needs_no_answer(name, value):
            self.ignored.append(f"standby {name or 'item'}")
            return
        match name:
            case "delivery" | "read":
                self._receipt(thread, value, "delivered" if name == "delivery" else "read")
            case "take_thread_control" | "pass_thread_control":
                self._control(thread, value, name.partition("_")[0])
            case "postback":
                self._postback(thread, value)
            case "referral":
                self._referral(thread, value)
            case "optin":
                self._optin(thread, value)
            case "order":
                self._cart(thread, value)
            case "reaction":
                self._reaction(thread, value)
            case _:
                self.ignored.append(next((one for one in COUNTED if one in item), "unknown"))

    def _postback(self, thread: _Thread, postback: Mapping[str, Any]) -> None:
        payload, title = text(postback, "payload", PAYLOAD_LIMIT), text(postback, "title", 200)
        referral = text(table(postback.get("referral")), "ref")
        key = text(postback, "mid") or f"postback|{short(f'{thread.psid}|{thread.stamp}|{payload}')}"
        if not payload:
            self.ignored.append("postback without payload")
        elif payload == GET_STARTED:
            self._add(thread, key, Followed(scene=referral, opener="message"))
        else:
            self._add(thread, key, Tapped(payload=payload, title=title, referral=referral))

    def _referral(self, thread: _Thread, referral: Mapping[str, Any]) -> None:
        ref = text(referral, "ref")
        key = f"referral|{short(f'{thread.psid}|{thread.stamp}|{ref}')}"
        self._add(thread, key, Scanned(scene=ref, opener="message"))

    def _cart(self, thread: _Thread, cart: Mapping[str, Any]) -> None:
        """A buyer sent a cart from the page's shop: to be answered like a message."""
        key = f"order|{thread.psid}|{thread.stamp}"
        self._add(thread, key, MessageReceived(text=text(cart, "note", 8000), kind="other"))

    def _reaction(self, thread: _Thread, reaction: Mapping[str, Any]) -> None:
        """A heart under a message of ours opens the window; there is nothing to answer. Taking it back is no sign of life."""
        if text(reaction, "action", 20) != "react":
            self.ignored.append("reaction taken back")
            return
        key = "|".join([thread.psid, text(reaction, "mid"), text(reaction, "emoji", 40), str(thread.stamp)])
        self._add(thread, f"reaction|{short(key)}", MessageReceived(kind="reaction", overheard=True))

    def _optin(self, thread: _Thread, optin: Mapping[str, Any]) -> None:
        status = text(optin, "notification_messages_status").replace(" ", "_").upper()
        token = text(optin, "notification_messages_token") or text(optin, "ref") or text(optin, "user_ref")
        # The token lets its holder write to the buyer: only its digest is kept.
        key = f"optin|{short(f'{thread.psid}|{token}')}|{thread.stamp}"
        if status == "STOP_NOTIFICATIONS":
            self._add(thread, key, OptChanged(change="out"))
        elif status == "RESUME_NOTIFICATIONS":
            self._add(thread, key, OptChanged(change="in"))
        elif text(optin, "type"):
            self.ignored.append(f"optin {label(text(optin, 'type'))}")
        else:
            self._add(thread, key, Scanned(scene=text(optin, "ref"), opener="message"))

    def _receipt(self, thread: _Thread, receipt: Mapping[str, Any], state: Literal["delivered", "read"]) -> None:
        """Both the named messages and "all up to": mids may be missing, and our clock is not Meta's."""
        mids = [text({"mid": one}, "mid") for one in rows(receipt.get("mids"))[:100]]
        for mid in filter(None, mids):
            self._add(thread, "", StatusReported(state=state, provider_id=mid))
        watermark = time_of(receipt.get("watermark"))
        if watermark:
            self._add(thread, "", StatusReported(state=state, watermark=watermark))
        elif not any(mids):
            self.ignored.append(f"{state} receipt of nothing")

    def _control(self, thread: _Thread, control: Mapping[str, Any], how: str) -> None:
        """The conversation is ours again, or somebody else's. Without a named owner: a take is theirs, a pass ours."""
        owner, before = text(control, "new_owner_app_id", 40), text(control, "previous_owner_app_id", 40)
        ours_now = owner == self._own_app if owner and self._own_app else owner not in PAGE_INBOX_APPS and how == "pass"
        body = StaffReleased(by=_app_name(before)) if ours_now else StaffTook(by=_app_name(owner))
        self._add(thread, f"{how}|{thread.psid}|{thread.stamp}", body)

    def _policy(self, thread: _Thread, policy: Mapping[str, Any]) -> None:
        """`block` stops sends until `unblock`; its detail is never empty, since an empty one reads as "not blocked"."""
        action = label(text(policy, "action", 30)) if text(policy, "action") else "policy"
        body = AccountAlert(kind=action, detail=text(policy, "reason", 200) or f"policy enforcement: {action}")
        id = f"{thread.page}|policy|{action}|{thread.stamp}"
        subject = subjects.account(thread.account)
        self.events.append(Event(id, subject, thread.account, thread.at, self._received, body))


def _app_name(app: str) -> str:
    return "page inbox" if not app or app in PAGE_INBOX_APPS else f"app {app[:40]}"


def _needs_no_answer(kind: str, value: Mapping[str, Any]) -> bool:
    """What counts even while another app owns the conversation."""
    if kind == "optin":
        return bool(text(value, "notification_messages_status"))
    return kind in ("delivery", "read", "reaction", "take_thread_control", "pass_thread_control")
