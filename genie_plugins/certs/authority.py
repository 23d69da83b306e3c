"""A certificate authority: elliptic-curve keys (P-256), X.509 certificates, by `cryptography`."""

from __future__ import annotations

import datetime
import ipaddress
import socket
from collections.abc import Sequence

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@attrs.frozen
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = attrs.field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The certificate in PEM."""
        pem: bytes = self.certificate.public_bytes(serialization.Encoding.PEM)
        return pem

    @property
    def key_pem(self) -> bytes:
        """The key in PEM (PKCS #8), not encrypted."""
        pem: bytes = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return pem


@attrs.frozen
class Authority:
    """Signs certificates that are valid for `days` from now, or that ended so many days ago."""

    pair: Pair
    days: int

    @classmethod
    def make(cls, days: int) -> Authority:
        """An authority with a new key, which signs itself and may sign no other authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("Genie certificate authority")
        builder = _extended(
            _builder(name, name, key, max(days, 1)),
            x509.BasicConstraints(ca=True, path_length=0),
            _usage("key_cert_sign", "crl_sign"),
        )
        return cls(Pair(builder.sign(key, hashes.SHA256()), key), days)

    def sign_server(self, hosts: Sequence[str]) -> Pair:
        """A certificate for an executor at `hosts`. Raises `ValueError` for what is no host."""
        names = x509.SubjectAlternativeName([_host(host) for host in hosts])
        return self._sign("Genie executor", ExtendedKeyUsageOID.SERVER_AUTH, names)

    def sign_client(self) -> Pair:
        """A certificate for a client."""
        return self._sign("Genie client", ExtendedKeyUsageOID.CLIENT_AUTH)

    def _sign(self, name: str, purpose: x509.ObjectIdentifier, *more: x509.ExtensionType) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _extended(
            _builder(_name(name), self.pair.certificate.subject, key, self.days),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.pair.key.public_key()),
            x509.BasicConstraints(ca=False, path_length=None),
            _usage("digital_signature"),
            x509.ExtendedKeyUsage([purpose]),
            *more,
        )
        return Pair(builder.sign(self.pair.key, hashes.SHA256()), key)


def this_machine() -> tuple[str, ...]:
    """Names by which this machine may be reached."""
    return tuple(dict.fromkeys((socket.gethostname(), "localhost", "127.0.0.1", "::1")))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    end = now + datetime.timedelta(days=days)
    # Clocks differ: valid from an hour before now, or before its end.
    start = min(now, end) - datetime.timedelta(hours=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    return _extended(builder, x509.SubjectKeyIdentifier.from_public_key(key.public_key()))


def _extended(
    builder: x509.CertificateBuilder, *extensions: x509.ExtensionType
) -> x509.CertificateBuilder:
    for extension in extensions:
        critical = isinstance(extension, (x509.BasicConstraints, x509.KeyUsage))
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in allowed for usage in _USAGES})


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not host or "/" in host or ":" in host or not host.isascii():
        raise ValueError(f"{host!r} is neither an IP address nor a host's name")
    return x509.DNSName(host)
