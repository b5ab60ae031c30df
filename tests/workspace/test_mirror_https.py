"""Mirrors over https, from a real `git http-backend` behind TLS on loopback, and from servers that mean no good."""

from __future__ import annotations

import http.server
import shutil
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tickover.core.errors import TickoverError
from tickover.workspace.mirror import Mirrors

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")

Serve = Callable[[type[http.server.BaseHTTPRequestHandler]], str]


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        return

    def answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        raise NotImplementedError


class Backend(Quiet):
    """CGI to git http-backend; see git-http-backend(1)."""

    root: ClassVar[Path]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": "/usr/bin:/bin",
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = subprocess.run(["git", "http-backend"], env=environment, input=body, stdout=subprocess.PIPE, check=True)
        head, _, content = said.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.answer(int(headers.pop("Status", "200")[:3]), headers, content)


class Files(Quiet):
    """A "dumb" server: the repository as files, with nothing that checks what is in them."""

    root: ClassVar[Path]

    def do_GET(self) -> None:
        path = self.root / self.path.partition("?")[0].lstrip("/")
        if path.is_file():
            self.answer(200, {"Content-Type": "text/plain"}, path.read_bytes())
        else:
            self.answer(404, {})


class Login(Quiet):
    def do_GET(self) -> None:
        self.answer(401, {"WWW-Authenticate": 'Basic realm="x"'})


class Elsewhere(Quiet):
    def do_GET(self) -> None:
        self.answer(302, {"Location": f"http://127.0.0.1:1{self.path}"})


class Noise(Quiet):
    def do_GET(self) -> None:
        self.answer(200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"\x00\xff" * 5000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder


@pytest.fixture
def serve(certificate: Path) -> Iterator[Serve]:
    servers: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def start(handler: type[http.server.BaseHTTPRequestHandler]) -> str:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return f"https://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def mirrors(data: Path, certificate: Path) -> Mirrors:
    return Mirrors(data, environ={"GIT_SSL_CAINFO": str(certificate / "cert.pem")})


async def refused(mirrors: Mirrors, url: str) -> TickoverError:
    with pytest.raises(TickoverError) as caught:
        await mirrors.resolve(url, timeout_s=20)
    return caught.value


async def test_a_mirror_over_https(serve: Serve, mirrors: Mirrors, source: Any) -> None:
    address = serve(type("Here", (Backend,), {"root": source.path.parent}))
    url = f"{address}/source/.git"
    first = await mirrors.resolve(url)
    assert first.sha == source.git("rev-parse", "HEAD")
    moved = source.commit({"a": "2"})
    assert (await mirrors.resolve(url, "main")).sha == moved


async def test_a_certificate_of_nobody_is_refused(serve: Serve, data: Path, source: Any) -> None:
    address = serve(type("Here", (Backend,), {"root": source.path.parent}))
    assert "certificate" in (await refused(Mirrors(data, environ={}), f"{address}/source/.git")).message


async def test_a_hostile_object_is_refused_over_https_too(serve: Serve, mirrors: Mirrors, source: Any) -> None:
    blob = bytes.fromhex(source.git("rev-parse", "HEAD:README.md"))
    source.commit_tree(b"100644 .git\0" + blob)
    address = serve(type("Here", (Backend,), {"root": source.path.parent}))
    assert (await refused(mirrors, f"{address}/source/.git")).code == "repository.unsafe"


async def test_a_server_of_mere_files_is_refused(serve: Serve, mirrors: Mirrors, source: Any) -> None:
    """Git takes objects from such a server without fsck."""
    source.git("update-server-info")
    source.git("repack", "-adq")
    address = serve(type("Here", (Files,), {"root": source.path / ".git"}))
    error = await refused(mirrors, address)
    assert error.code == "repository.not_git"
    assert "files" in error.message


async def test_a_login_is_not_asked_for(serve: Serve, mirrors: Mirrors) -> None:
    error = await refused(mirrors, serve(Login))
    assert error.code == "repository.unreachable"
    assert "login" in error.message


async def test_a_way_out_of_tls_is_not_taken(serve: Serve, mirrors: Mirrors) -> None:
    assert (await refused(mirrors, serve(Elsewhere))).code == "repository.unreachable"


async def test_noise_is_an_error(serve: Serve, mirrors: Mirrors) -> None:
    assert (await refused(mirrors, serve(Noise))).code == "repository.unreachable"
