"""Stores that not everybody may use: TLS with certificates made here, an ACL user, sentinels with a password of their own."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
USER, SECRET = "touchpoint", "p@ss/w?rd:1"  # every sign of a URL
DEFAULT_SECRET, SENTINEL_SECRET = "of-the-default-user", "of the sentinels&"


class Authority:
    """Signs certificates; each is a pair of files. `file`: its own, for `ssl_ca_certs`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.crt"
        made = self._builder(self._name, self._key.public_key(), -DAY, 30 * DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject, key, begins, ends) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(key)
        made = made.serial_number(x509.random_serial_number())
        return made.not_valid_before(now + begins).not_valid_after(now + ends)

    def certificate(self, name: str, *, host: str = "127.0.0.1", ends: dt.timedelta = DAY) -> tuple[Path, Path]:
        """Files of a certificate for a host (an address or a name) and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key.public_key(), -3 * DAY, ends)
        is_address = host.replace(".", "").isdecimal()
        named = x509.IPAddress(ipaddress.ip_address(host)) if is_address else x509.DNSName(host)
        made = made.add_extension(x509.SubjectAlternativeName([named]), critical=False)
        files = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        files[0].write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files


@dataclass(frozen=True)
class Guarded:
    """What servers are told, and how one talks to them. Whoever connects has to show a certificate where `both` is set."""

    authority: Authority
    files: tuple[Path, Path]
    both: bool = False

    def _tls(self) -> dict[str, str]:
        return {
            "port": "0",
            "tls-cert-file": str(self.files[0]),
            "tls-key-file": str(self.files[1]),
            "tls-ca-cert-file": str(self.authority.file),
            "tls-auth-clients": "yes" if self.both else "no",
            "tls-replication": "yes",
        }

    def options(self) -> list[str]:
        """An ACL user for the gateway, a password for the default user, which replicas use."""
        told = self._tls() | {"requirepass": DEFAULT_SECRET, "masterauth": DEFAULT_SECRET, "tls-cluster": "yes"}
        flat = [word for name, value in told.items() for word in (f"--{name}", value)]
        return [*flat, "--user", USER, "on", f">{SECRET}", "~*", "&*", "+@all"]

    def sentinel_lines(self) -> str:
        """They have one password among themselves, and know that of the servers."""
        told = [f"{name} {value}" for name, value in self._tls().items()]
        told += [f'requirepass "{SENTINEL_SECRET}"', f"sentinel auth-pass tp {DEFAULT_SECRET}"]
        return "\n".join([*told, f'sentinel sentinel-pass "{SENTINEL_SECRET}"', ""])

    def opened(self, connection: socket.socket) -> socket.socket:
        """TLS, whatever the certificate says."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.load_cert_chain(*self.files)
        return context.wrap_socket(connection)

    def login(self, *, sentinel: bool) -> tuple[str, ...]:
        """As the default user."""
        return "AUTH", SENTINEL_SECRET if sentinel else DEFAULT_SECRET

    def url(
        self, plain: str, *, user: str = USER, secret: str = SECRET, sentinel: str = SENTINEL_SECRET, **more: str
    ) -> str:
        """The address of a store that is guarded so, by that of the plain one."""
        scheme, _, rest = plain.partition("://")
        found = {"ssl_ca_certs": str(self.authority.file), **more}
        if "sentinel" in scheme and sentinel:
            found["sentinel_password"] = sentinel
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in found.items() if value)
        login = f"{quote(user, safe='')}:{quote(secret, safe='')}@" if secret else ""
        return f"{scheme.replace('redis', 'rediss', 1)}://{login}{rest}{'?' if query else ''}{query}"
