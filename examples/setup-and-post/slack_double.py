"""A stand-in for a chat server over HTTPS, on loopback, with a certificate authority of its own.

    python3 slack_double.py --token-file FILE --folder DIR [--port 8943] [--not-ok] [--with-stdin]

Writes DIR/ca.pem, prints its address on one line, and serves until it is ended (or, with --with-stdin, until its
standard input closes). POST /api/chat.postMessage with the token adds a message; like the real one it answers 200
whatever happens, and says in the body whether it is ok. Each request is one line of DIR/record.jsonl.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import ssl
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PATH = "/api/chat.postMessage"
LARGEST = 64 * 1024  # bytes of a message


class Double(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, folder: Path, token: str, ok: bool) -> None:
        self.token, self.ok = token, ok
        self.record = folder / "record.jsonl"
        self.record.touch()
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", port), Handler)
        self.socket = make_context(folder).wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def address(self) -> str:
        return f"https://localhost:{self.server_address[1]}"

    def note(self, **what: object) -> None:
        with self.lock, self.record.open("a") as file:
            file.write(json.dumps(what) + "\n")


class Handler(BaseHTTPRequestHandler):
    server: Double
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        body = self.rfile.read(min(int(length), LARGEST)) if length.isdecimal() else b""
        known = self.headers.get("authorization") == f"Bearer {self.server.token}"
        ok = known and self.server.ok and self.path == PATH
        told = {"ok": True} if ok else {"ok": False, "error": "channel_is_archived" if known else "invalid_auth"}
        self.server.note(method="POST", path=self.path, known=known, ok=ok, body=body.decode("utf-8", "replace"))
        answer = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        return


def make_context(folder: Path) -> ssl.SSLContext:
    """Make an authority and a certificate for localhost, both for a day; the authority's stands in ca.pem."""
    now = datetime.now(UTC)

    def certificate(name: str, of: ec.EllipticCurvePublicKey, by: str, key: ec.EllipticCurvePrivateKey, ca: bool):
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
        usage = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
            .public_key(of)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=0 if ca else None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(of), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(
                x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, **usage), critical=True
            )
        )
        if not ca:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = "the double's own authority"
    (folder / "ca.pem").write_bytes(certificate(issuer, root.public_key(), issuer, root, True))
    private = leaf.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain = folder / "server.pem"
    chain.touch(mode=0o600)
    chain.write_bytes(private + certificate("localhost", leaf.public_key(), issuer, root, False))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8943)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--not-ok", action="store_true", help='answer 200 with {"ok": false}')
    parser.add_argument("--with-stdin", action="store_true", help="end when standard input closes")
    given = parser.parse_args()
    double = Double(given.port, given.folder, given.token_file.read_text().strip(), not given.not_ok)
    print(double.address, flush=True)
    if given.with_stdin:
        threading.Thread(target=lambda: (sys.stdin.read(), double.shutdown()), daemon=True).start()
    double.serve_forever()


if __name__ == "__main__":
    main()
