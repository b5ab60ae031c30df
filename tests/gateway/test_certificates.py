"""Certificates that real clients accept for the right host, and for no other."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from tickover.gateway.certificates import MOST_LEAVES, RunAuthority, bundle, system_roots, upstream_context
from tickover.gateway.hello import Answer, AnswerReader, Hello, HelloReader

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def authority() -> RunAuthority:
    return RunAuthority("run-1", now=NOW, below=["example.com", "slack.test"])


def strict(authority: RunAuthority) -> ssl.SSLContext:
    """Return a client as Python 3.13 makes it, which trusts the run's authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> tuple[ssl.SSLObject, list[bytes]]:
    """Shake hands in memory; return the client's end and what the server sent, flight by flight."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    flights = []
    for _ in range(6):
        with suppress(ssl.SSLWantReadError):
            asking.do_handshake()
        try:
            answering.do_handshake()
        except ssl.SSLWantReadError:
            flights.append(to_client.read())
            to_client.write(flights[-1])
            continue
        break
    asking.do_handshake()
    return asking, flights


@pytest.mark.parametrize("host", ["slack.test", "api.example.com", "example.com", f"{'a' * 60}.b.example.com"])
def test_a_strict_client_accepts_a_leaf(authority: RunAuthority, host: str) -> None:
    client, _ = shake(authority.context(host), strict(authority), host)
    assert client.version() == "TLSv1.3"
    assert authority.context(host) is authority.context(host)


def test_only_http_1_1_is_spoken(authority: RunAuthority) -> None:
    client = strict(authority)
    client.set_alpn_protocols(["h2", "http/1.1"])
    assert shake(authority.context("slack.test"), client, "slack.test")[0].selected_alpn_protocol() == "http/1.1"
    client.set_alpn_protocols(["h2"])
    assert shake(authority.context("slack.test"), client, "slack.test")[0].selected_alpn_protocol() is None


def test_a_leaf_is_for_its_host_alone(authority: RunAuthority) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(authority.context("slack.test"), strict(authority), "api.example.com")


def test_what_one_run_is_shown_no_other_believes(authority: RunAuthority) -> None:
    other = RunAuthority("run-2", now=NOW, below=["slack.test"])
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(authority.context("slack.test"), strict(other), "slack.test")


@pytest.mark.parametrize("host", ["evil.test", "notexample.com", "example.com.evil.test"])
def test_the_authority_may_not_sign_for_other_hosts(authority: RunAuthority, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shake(authority.context(host), strict(authority), host)


def test_an_authority_without_names_signs_for_any() -> None:
    anywhere = RunAuthority("run-2", now=NOW)
    assert shake(anywhere.context("evil.test"), strict(anywhere), "evil.test")[0].version()


def test_two_runs_do_not_trust_each_other(authority: RunAuthority) -> None:
    other = RunAuthority("run-2", now=NOW, below=["slack.test"])
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(authority.context("slack.test"), strict(other), "slack.test")
    assert authority.leaf("slack.test") != other.leaf("slack.test")


def test_old_tls_is_refused(authority: RunAuthority) -> None:
    assert authority.context("slack.test").minimum_version == ssl.TLSVersion.TLSv1_2
    client = strict(authority)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert shake(authority.context("slack.test"), client, "slack.test")[0].version() == "TLSv1.2"


def test_what_the_certificates_say(authority: RunAuthority) -> None:
    leaf, root = x509.load_pem_x509_certificates(authority.leaf("slack.test"))
    assert leaf.not_valid_after_utc - NOW <= timedelta(hours=24)
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0
    ours = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    theirs = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert ours == theirs
    assert leaf.serial_number != root.serial_number


def test_an_expired_authority_is_not_accepted() -> None:
    old = RunAuthority("run-0", now=NOW - timedelta(hours=25))
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        shake(old.context("slack.test"), strict(old), "slack.test")


def test_contexts_are_bounded_and_leave_no_file_behind(authority: RunAuthority) -> None:
    before = len(os.listdir("/proc/self/fd"))
    first = authority.context("x0.example.com")
    for number in range(1, MOST_LEAVES + 1):
        authority.context(f"x{number}.example.com")
    assert authority.context("x0.example.com") is not first
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_private_key_is_in_what_clients_get(authority: RunAuthority) -> None:
    assert b"PRIVATE" not in authority.leaf("slack.test") + authority.pem


def test_a_retried_hello_of_openssl_is_noticed(authority: RunAuthority) -> None:
    """The server wants a group that the client did not guess, so it asks again: a second name could come."""
    context = authority.context("retry.example.com")
    context.set_ecdh_curve("secp521r1")
    flights = shake(context, strict(authority), "retry.example.com")[1]
    assert AnswerReader().feed(flights[0]) == Answer(retry=True)
    plain = shake(authority.context("slack.test"), strict(authority), "slack.test")[1]
    assert AnswerReader().feed(plain[0]) == Answer(retry=False)


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[tuple[int, list[object]]]:
    """Answer one HTTPS request on loopback; what the hello reader saw is kept."""
    seen: list[object] = []

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.settimeout(60)
        with connection:
            seen.append(HelloReader().feed(connection.recv(16_384, socket.MSG_PEEK)))
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(4096)
                secure.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1], seen
        thread.join(20)


def test_curl_and_openssl_accept_the_mounted_bundle(authority: RunAuthority, tmp_path: Path) -> None:
    trusted = tmp_path / "bundle.pem"
    trusted.write_bytes(bundle(system_roots(), authority.pem))
    with serving(authority.context("api.example.com")) as (port, seen):
        found = subprocess.run(
            [
                "curl", "-q", "-sS", "--max-time", "60", "--noproxy", "*", "--cacert", str(trusted), "--resolve",
                f"api.example.com:{port}:127.0.0.1", f"https://api.example.com:{port}/",
            ],
            capture_output=True, check=False,
        )  # fmt: skip
        assert found.stdout == b"ok", found.stderr
    assert seen == [Hello("api.example.com", (b"h2", b"http/1.1"), ech=False)]
    with serving(authority.context("slack.test")) as (port, _):
        found = subprocess.run(
            [
                "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "slack.test", "-verify_hostname",
                "slack.test", "-verify_return_error", "-x509_strict", "-CAfile", str(trusted), "-quiet",
            ],
            input=b"GET / HTTP/1.1\r\n\r\n", capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert found.stdout.endswith(b"ok"), found.stderr


def test_the_bundle_has_the_public_roots_and_the_runs_authority(authority: RunAuthority) -> None:
    roots = system_roots()
    both = bundle(roots, authority.pem)
    assert both.count(b"BEGIN CERTIFICATE") == roots.count(b"BEGIN CERTIFICATE") + 1
    assert both.endswith(authority.pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=both.decode())
    assert bundle(b"", authority.pem) == authority.pem


def test_upstreams_are_verified() -> None:
    plain = upstream_context()
    assert plain.verify_mode is ssl.CERT_REQUIRED
    assert plain.check_hostname
    double = RunAuthority("double", now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(double.context("slack.test"), plain, "slack.test")
    assert shake(double.context("slack.test"), upstream_context(double.pem), "slack.test")[0].version()


def test_a_connection_that_is_cut_off_does_not_pass_for_one_that_ended(authority: RunAuthority) -> None:
    for context in (authority.context("slack.test"), upstream_context(), upstream_context(authority.pem)):
        assert not context.options & ssl.OP_IGNORE_UNEXPECTED_EOF
