"""Certificates of one run: an authority that lives as long as the run, a leaf per inspected host, TLS contexts.

Private keys stay in memory; where OpenSSL wants a file it gets a memfd. The authority may sign for the run's own hosts
only (name constraints, RFC 5280 section 4.2.1.10), and all carry the key identifiers that Python 3.13 asks for.
"""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(hours=24)
SKEW = timedelta(hours=1)
MOST_LEAVES = 256
"""Contexts that are kept per run, oldest out first: a wildcard rule lets a run name hosts without end."""
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class RunAuthority:
    """A run's certificate authority. `below` are the names that it and its subdomains may be signed for; empty: any.

    A context is a server's side for one host: TLS 1.2 or later, HTTP/1.1 only.
    """

    def __init__(self, run: str, *, now: datetime, below: Iterable[str] = ()) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._from, self._until = now - SKEW, now + LIFETIME
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        name = _name("tickover run authority", run)
        public = self._key.public_key()
        builder = (
            self._builder(name, public)
            .issuer_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        if permitted := [x509.DNSName(each) for each in dict.fromkeys(below)]:
            everything = [x509.IPAddress(IPv4Network("0.0.0.0/0")), x509.IPAddress(IPv6Network("::/0"))]
            builder = builder.add_extension(x509.NameConstraints(permitted, everything), critical=True)
        self._certificate = builder.sign(self._key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The authority's certificate, for the clients to trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key(self) -> bytes:
        """The key of every leaf, PEM: a secret."""
        return self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def leaf(self, host: str) -> bytes:
        """Make a certificate for a host in its canonical spelling; PEM, the authority's after it."""
        builder = (
            self._builder(_name("tickover", host if len(host) <= 64 else "a long name"), self._leaf_key.public_key())
            .issuer_name(self._certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + self.pem

    def context(self, host: str) -> ssl.SSLContext:
        """Return the server side's context for a host, the same as long as it is kept."""
        if (known := self._contexts.get(host)) is not None:
            self._contexts.move_to_end(host)
            return known
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _tell_ends_apart(context)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        _load(context, self.key + self.leaf(host))
        self._contexts[host] = context
        if len(self._contexts) > MOST_LEAVES:
            self._contexts.popitem(last=False)
        return context

    def _builder(self, subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        authority = self._key.public_key()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._from)
            .not_valid_after(self._until)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority), critical=False)
        )


def _name(organization: str, common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common[:64]),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _tell_ends_apart(context: ssl.SSLContext) -> None:
    """Let a connection that is cut off not pass for one that ended, as Debian 12's Python 3.11.2 has it by default."""
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load key and chain without a file that anyone could open: a memfd, closed again."""
    descriptor = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def upstream_context(extra_roots: bytes = b"") -> ssl.SSLContext:
    """Make the context for all upstreams: one per process, for it holds every root (0.8 MiB)."""
    context = ssl.create_default_context()
    _tell_ends_apart(context)
    if extra_roots:
        context.load_verify_locations(cadata=extra_roots.decode("ascii"))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def system_roots() -> bytes:
    """Read this machine's trusted roots as PEM; nothing if it has none in a place that is known."""
    default = ssl.get_default_verify_paths().cafile
    for path in (default, *_SYSTEM_BUNDLES):
        if path and os.path.isfile(path):
            with open(path, "rb") as file:
                return file.read()
    return b""


def bundle(roots: bytes, authority: bytes) -> bytes:
    """Return what is mounted over a sandbox's bundle: public roots, for tunnels, and the run's authority."""
    return roots.rstrip() + b"\n" + authority if roots.strip() else authority
