"""Serve a script until it is interrupted: python -m tickover.testing.model SCRIPT.json [--port N] [--log FILE].

With `--authority FILE` it speaks TLS as `localhost`, with a certificate made now; FILE gets what clients have to trust.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import ssl
import sys
from datetime import UTC, datetime

from tickover.gateway.certificates import RunAuthority
from tickover.testing.model.server import ScriptedModel


def main() -> int:
    """Print the address as the first line of stdout and serve."""
    parser = argparse.ArgumentParser(prog="python -m tickover.testing.model", description=__doc__)
    parser.add_argument("script", help="a JSON file; see tickover.testing.model.script")
    parser.add_argument("--port", type=int, default=0, help="of loopback; any free one if not given")
    parser.add_argument("--log", help="a file that gets a JSON line per request")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"), help="PEM files; the address is https then")
    parser.add_argument("--authority", metavar="FILE", help="speak TLS as localhost; FILE gets the root, PEM")
    words = parser.parse_args()
    with open(words.script, encoding="utf-8") as file:
        script = json.load(file)
    tls = None
    if words.tls:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*words.tls)
    elif words.authority:
        authority = RunAuthority("scripted model", now=datetime.now(UTC))
        with open(words.authority, "wb") as file:
            file.write(authority.pem)
        tls = authority.context("localhost")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ScriptedModel(script, port=words.port, log=words.log, tls=tls) as model:
        sys.stdout.write(f"{model.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main())
