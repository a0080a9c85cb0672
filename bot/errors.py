"""Every error the gateway raises on purpose; anything else is a bug.

GatewayError
  RequestError            a webhook or API request that is refused; carries the HTTP status
    SignatureError 401    bad or missing signature (a failed GET handshake is answered 403)
      RepeatedHeaderError 400  a signature, timestamp or id that stands twice
    UnknownAccountError 404
    PayloadError 400      verified, but not parseable (channels and shops: kept as a dead letter)
    TooLargeError 413
    MediaTypeError 415
    BusyError 429
    UnknownBroadcastError 404
    ChangedError 409      somebody else changed it meanwhile
    StateError 409        not in the state that it is in
  StoreError              Redis cannot take or give work now; intake answers 503
    StoreFullError        memory limit reached
    FenceError            the lease was lost: somebody else owns the partition now
  LedgerError             the ledger cannot be reached, or is not ours; nothing on the way of a message waits for it
    NotYetError           the projection has not come as far as it must
  SendError               one provider call that did not end in an acceptance
    TemporaryError        try again; nothing was accepted
      ThrottledError      the provider asked for a pause; costs no attempt
      ConnectError        nothing was written to the wire
      ProviderDownError   the provider says that it did not take the message (5xx by its own documentation)
    InDoubtError          the request may have been written: accepted or not is unknown
    PermanentError        never try this message again
      RejectedError       the provider refused it for a reason of the message or the address
        NoGrantError      the buyer's leave for this notice is used up or taken back
      ContentError        the content does not fit the channel (found before any call where possible)
      OptedOutError       the buyer has blocked us at the provider: becomes an opt-out event
      WindowClosedError   the provider's reply window or quota is used up
      UnreachableError    the address does not exist or cannot receive
      AccountError        the account itself is at fault (token, rights, balance): staff are alerted
  ConfigError             one or more faults in config.toml
"""

from __future__ import annotations

from collections.abc import Sequence


class GatewayError(Exception):
    """Base of all deliberate errors."""


class RequestError(GatewayError):
    """A request that is refused. `status` is the HTTP status, `field` the offending field if there is one."""

    status = 400
    kind = "bad-request"

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class SignatureError(RequestError):
    """The request does not prove that its sender is the provider."""

    status = 401
    kind = "bad-signature"


class RepeatedHeaderError(SignatureError):
    """A header that a signature rests on stands twice: which one counts would be a guess. Not the sender's key, its form."""

    status = 400
    kind = "repeated-header"

    def __init__(self, name: str) -> None:
        super().__init__(f"header {name} is repeated: send it once")


class UnknownAccountError(RequestError):
    """The path names no configured account, shop or tracker."""

    status = 404
    kind = "unknown-account"


class PayloadError(RequestError):
    """The body is verified but cannot be understood."""

    status = 400
    kind = "bad-body"


class TooLargeError(RequestError):
    """The body is over the cap of its route."""

    status = 413
    kind = "too-large"


class MediaTypeError(RequestError):
    """The body's content type is not one that the route takes."""

    status = 415
    kind = "wrong-type"


class BusyError(RequestError):
    """Too many requests from one sender."""

    status = 429
    kind = "too-many"


class UnknownBroadcastError(RequestError):
    """There is no broadcast with this id."""

    status = 404
    kind = "not-found"

    def __init__(self) -> None:
        super().__init__("there is no broadcast with this id")


class ChangedError(RequestError):
    """Somebody else changed it since it was read."""

    status = 409
    kind = "changed-meanwhile"


class StateError(RequestError):
    """What is asked for cannot be done in the state that it is in."""

    status = 409
    kind = "wrong-state"


class StoreError(GatewayError):
    """Redis cannot take or give work at the moment."""

    @property
    def outward(self) -> str:
        """What callers of the API may read of it."""
        return str(self)


class StoreRefusesError(StoreError):
    """Redis does not let this configuration in: for its login, its certificate. The text names what to change.

    `sure`: False where a server that is restarting would look the same.
    """

    def __init__(self, words: str, *, sure: bool = True) -> None:
        super().__init__(words)
        self.sure = sure

    @property
    def outward(self) -> str:
        """Servers and settings are the operator's business."""
        return "Redis does not let the gateway in"


class StoreFullError(StoreError):
    """Redis refuses writes: its memory limit is reached."""


class PartlyStoredError(StoreError):
    """A cluster took part of a batch: the servers of some keys are away. `failed`: positions that were not done, or unsurely.

    `ready`: what became ready to send of those that were done.
    """

    def __init__(self, message: str, failed: frozenset[int], ready: frozenset[tuple[int, str, str]]) -> None:
        super().__init__(message)
        self.failed = failed
        self.ready = ready


class FenceError(StoreError):
    """Another process owns the partition now; this process's work on it is void."""


class LedgerError(GatewayError):
    """The ledger cannot answer now: away, being prepared, or of another installation. Says what to do."""


class NotYetError(LedgerError):
    """The projection is behind what was asked for: try again soon."""


class SendError(GatewayError):
    """One provider call that did not end in an acceptance.

    `reason` is a value of `bot.reasons.FailureReason`, `code` the provider's own code (for staff), never a secret,
    a text or an address. `alert`: staff must do something about it, though the account itself goes on.
    """

    reason = "provider_error"

    def __init__(self, detail: str, *, code: str = "", reason: str = "", alert: bool = False) -> None:
        super().__init__(detail)
        self.code = code
        self.alert = alert
        if reason:
            self.reason = reason


class TemporaryError(SendError):
    """Nothing was accepted; another attempt is safe. `most_tries`: fewer than the purpose allows (0: as many)."""

    reason = "provider_down"

    def __init__(
        self, detail: str, *, code: str = "", reason: str = "", alert: bool = False, most_tries: int = 0
    ) -> None:
        super().__init__(detail, code=code, reason=reason, alert=alert)
        self.most_tries = most_tries


class ThrottledError(TemporaryError):
    """The provider asks for a pause of `retry_after_s` seconds (0: it does not say). Costs no attempt.

    `whole_line` False: the limit is one number's or one sender's, and the account's other messages go on.
    """

    reason = "throttled"

    def __init__(
        self, detail: str, *, code: str = "", retry_after_s: float = 0.0, alert: bool = False, whole_line: bool = True
    ) -> None:
        super().__init__(detail, code=code, alert=alert)
        self.retry_after_s = retry_after_s
        self.whole_line = whole_line


class ConnectError(TemporaryError):
    """No connection: not a byte of the request was written."""

    reason = "no_connection"


class ProviderDownError(TemporaryError):
    """The provider answered that it did not take the request."""


class InDoubtError(SendError):
    """The request may have been written; whether the provider took it is unknown."""

    reason = "no_answer"


class PermanentError(SendError):
    """This message will never be accepted."""

    reason = "rejected"


class RejectedError(PermanentError):
    """Refused for a reason of the message or the address."""


class NoGrantError(RejectedError):
    """The buyer gave no leave for this notice, or it is used up or taken back: the engine counts none as left."""


class ContentError(PermanentError):
    """The content does not fit the channel."""

    reason = "content"


class OptedOutError(PermanentError):
    """The buyer has blocked the account at the provider; the engine records an opt-out.

    `marketing_only`: what else is sent may still arrive.
    """

    reason = "opted_out"

    def __init__(self, detail: str, *, code: str = "", marketing_only: bool = False) -> None:
        super().__init__(detail, code=code)
        self.marketing_only = marketing_only


class WindowClosedError(PermanentError):
    """The provider's reply window is shut or its quota used up."""

    reason = "window_closed"


class UnreachableError(PermanentError):
    """The address does not exist or cannot receive; the engine marks it unreachable."""

    reason = "unreachable"


class AccountError(PermanentError):
    """The account is at fault (token, rights, balance): it is paused (`pause_s` seconds, 0: as the sender does) and staff are alerted."""

    reason = "account"

    def __init__(self, detail: str, *, code: str = "", reason: str = "", pause_s: float = 0) -> None:
        super().__init__(detail, code=code, reason=reason, alert=True)
        self.pause_s = pause_s


class ConfigError(GatewayError):
    """Faults in the configuration, all at once: one line each with key, what is wrong and what would be right."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)
