"""A server that is there and does not let us in: for its login, its rights, its certificate. Which line to change, in plain words.

The library wraps what happened in errors of its own; what matters is found along their causes. No word of it holds a secret.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from redis.exceptions import AuthenticationError, NoPermissionError
from redis.exceptions import ConnectionError as RedisConnectionError

# X509_V_ERR_…: what OpenSSL calls the ways in which a certificate fails.
EXPIRED, NOT_YET = 10, 9
UNKNOWN_ISSUER = frozenset({2, 18, 19, 20, 21})
OTHER_NAME = frozenset({62, 64})

LOGIN = "put the right one before the host in redis.url, as in redis://user:password@host"
SENTINEL_LOGIN = "set the right one in redis.url, as in ?sentinel_password=… (and sentinel_username)"
CA = "name the file of the authority that signed it in redis.url, as in ?ssl_ca_certs=/etc/redis/ca.crt"
CLIENT = 'name one in redis.url, as in ?ssl_certfile=FILE&ssl_keyfile=FILE, or set "tls-auth-clients no" in the server\'s configuration'
PLAIN = "begin redis.url with redis instead of rediss, or name the port that speaks TLS"
CLOSED = {
    "redis": "the server closes the connection at once; if it speaks TLS alone, begin redis.url with rediss instead of redis",
    "rediss": f"the server closes the connection at once; if it wants a certificate of ours, {CLIENT}",
}
SILENT = f"the server does not answer TLS; if it speaks none, {PLAIN}"
BY_REASON = {
    "WRONG_VERSION_NUMBER": f"the server speaks no TLS there; {PLAIN}",
    "RECORD_LAYER_FAILURE": f"the server speaks no TLS there; {PLAIN}",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": f"the server wants a certificate of ours; {CLIENT}",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": f"the server wants a certificate of ours; {CLIENT}",
    "TLSV1_ALERT_UNKNOWN_CA": f"the server does not know who signed our certificate; {CLIENT}",
    "NO_CERTIFICATE_OR_CRL_FOUND": "ssl_ca_certs in redis.url names a file without a certificate in it; it must be PEM",
    "KEY_VALUES_MISMATCH": "ssl_keyfile in redis.url is not the key of ssl_certfile; name those that belong together",
}


class NoPrimaryError(RedisConnectionError):
    """No sentinel names a primary; why the last one did not is its cause."""


class ClosedAtOnceError(RedisConnectionError):
    """A server ended the connection before it answered anything. Its text: what that may mean."""


class SilentError(TimeoutError):
    """A server did not answer the beginning of TLS in time. Its text: what that may mean."""


def guess(error: BaseException) -> str:
    """What a server that says nothing may want, or "": one that is restarting looks the same."""
    found = (str(one) for one in _causes(error) if isinstance(one, ClosedAtOnceError | SilentError))
    return next(found, "")


def refusal(error: BaseException) -> str:
    """What is refused and what to change, or "" where a server is only away."""
    chain = list(_causes(error))
    whose = "the sentinels" if any(isinstance(one, NoPrimaryError) for one in chain) else "the server"
    for one in chain:
        if isinstance(one, AuthenticationError) or str(one).startswith(("WRONGPASS", "NOAUTH")):
            return _login(one, whose)
        if isinstance(one, NoPermissionError) or str(one).startswith("NOPERM"):
            cure = (
                "give it all commands and keys, as in ACL SETUSER name ~* &* +@all, or put another one into redis.url"
            )
            return f"this login may not do what is needed at {whose} ({str(one)[:120]}); {cure}"
        if isinstance(one, ssl.SSLCertVerificationError):
            return _certificate(one, whose)
        if isinstance(one, ssl.SSLError) and one.reason in BY_REASON:
            return BY_REASON[one.reason].replace("the server", whose)
        if found := next((words for reason, words in BY_REASON.items() if reason in str(one)), ""):
            return found.replace("the server", whose)
    return ""


def _login(error: BaseException, whose: str) -> str:
    cure = SENTINEL_LOGIN if whose == "the sentinels" else LOGIN
    text = str(error).lower()
    if "without any password configured" in text:
        return f"{'they have' if whose == 'the sentinels' else 'it has'} no password; take the login out of redis.url"
    if "authentication required" in text or "noauth" in text:
        return f"{whose} {'want' if whose == 'the sentinels' else 'wants'} a login; {cure}"
    return f"{whose} {'refuse' if whose == 'the sentinels' else 'refuses'} the user or the password; {cure}"


def _certificate(error: ssl.SSLCertVerificationError, whose: str) -> str:
    of = "their certificate" if whose == "the sentinels" else "its certificate"
    if error.verify_code == EXPIRED:
        return f"{of} has expired; put a new one where tls-cert-file of {whose} points"
    if error.verify_code == NOT_YET:
        return f"{of} is not valid yet; set the clocks of both machines, or put another one where tls-cert-file points"
    if error.verify_code in OTHER_NAME:
        cure = "name in redis.url the host that it is for, or make one for this host (tls-cert-file)"
        return f"{of} is for another host: {error.verify_message}; {cure}"
    if error.verify_code in UNKNOWN_ISSUER:
        return f"{of} is signed by nobody known here: {error.verify_message}; {CA}"
    return f"{of} is refused: {error.verify_message}; put another one where tls-cert-file of {whose} points"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
