"""WeChat's signatures and message encryption (AES-256-CBC, PKCS#7 to 32 bytes, AppID at the end)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from bot.errors import SignatureError

BLOCK = 32


def signature(*parts: str) -> str:
    """SHA-1 of the sorted, joined parts, lower-case hex."""
    return hashlib.sha1("".join(sorted(parts)).encode()).hexdigest()  # noqa: S324  # the provider's scheme


def matches(given: str, *parts: str) -> bool:
    """Whether a signature is that of the parts, in constant time."""
    return hmac.compare_digest(signature(*parts).encode(), given.encode("utf-8", "surrogatepass"))


class Crypto:
    """Decrypts with any of the keys (current first), encrypts with the first."""

    def __init__(self, keys: Sequence[bytes], app_id: str) -> None:
        self._keys = list(keys)
        self._app_id = app_id.encode()

    def decrypt(self, encrypted: str) -> bytes:
        """The message. Raises one and the same SignatureError for whatever is wrong: no oracle for paddings."""
        try:
            data = base64.b64decode(encrypted, validate=True)
        except (binascii.Error, ValueError) as error:
            raise SignatureError("the message cannot be decrypted") from error
        for key in self._keys:
            if (message := self._open(key, data)) is not None:
                return message
        raise SignatureError("the message cannot be decrypted")

    def _open(self, key: bytes, data: bytes) -> bytes | None:
        if not data or len(data) % 16:
            return None
        decryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).decryptor()
        plain = decryptor.update(data) + decryptor.finalize()
        pad = plain[-1]
        if not 1 <= pad <= BLOCK or len(plain) < 20 + pad or plain[-pad:] != bytes([pad]) * pad:
            return None
        plain = plain[:-pad]
        (length,) = struct.unpack(">I", plain[16:20])
        if 20 + length > len(plain):
            return None
        message, receiver = plain[20 : 20 + length], plain[20 + length :]
        return message if hmac.compare_digest(receiver, self._app_id) else None

    def encrypt(self, message: bytes, random16: bytes) -> str:
        """The other direction; `random16` are 16 random bytes."""
        key = self._keys[0]
        plain = random16 + struct.pack(">I", len(message)) + message + self._app_id
        pad = BLOCK - len(plain) % BLOCK
        encryptor = Cipher(algorithms.AES(key), modes.CBC(key[:16])).encryptor()
        data = encryptor.update(plain + bytes([pad]) * pad) + encryptor.finalize()
        return base64.b64encode(data).decode()
