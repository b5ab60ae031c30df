"""TLS on a wire whose first bytes have been read already: a hello is judged before it is answered.

The verbs are those of a Wire, so what reads and writes HTTP does not care which of the two it has.
"""

from __future__ import annotations

import ssl

from tickover.gateway.refusal import Refusal
from tickover.gateway.wire import Wire

_READ_BYTES = 65_536
_CUT_OFF = "UNEXPECTED_EOF_WHILE_READING"
"""OpenSSL 3's name for an end without close_notify; a Python as old as 3.11.2 has no SSLEOFError for it."""


class Secure:
    """One end of TLS: the server's without `server_name`, else a client's that asks for that name."""

    def __init__(
        self, wire: Wire, context: ssl.SSLContext, *, server_name: str | None = None, first: bytes = b""
    ) -> None:
        self._wire = wire
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._is_server = server_name is None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, self._is_server, server_name)
        self._incoming.write(first)
        self.ended_well = False
        """Whether the peer has said that this is the end (close_notify); without it, something may be missing."""

    async def handshake(self) -> None:
        """Shake hands. Raises Refusal: `tls_certificate`, `tls_handshake`, `truncated`; 400 or 502."""
        status = 400 if self._is_server else 502
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLCertVerificationError as error:
                self._flush()
                raise Refusal(status, "tls_certificate", error.verify_message) from error
            except ssl.SSLError as error:
                self._flush()
                raise Refusal(status, "tls_handshake", error.reason or "no TLS") from error
            else:
                self._flush()
                return
            data = await self._wire.read()
            if not data:
                raise Refusal(status, "truncated", "the connection ended in the middle of the TLS handshake")
            self._incoming.write(data)

    async def read(self) -> bytes:
        """Return what has come, at least one byte; nothing at the end of the stream (see `ended_well`)."""
        while True:
            try:
                data = self._tls.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError as error:
                if isinstance(error, ssl.SSLEOFError) or error.reason == _CUT_OFF:
                    return b""
                raise Refusal(400 if self._is_server else 502, "tls_broken", error.reason or "") from error
            else:
                self.ended_well = not data
                return data
            more = await self._wire.read()
            if more:
                self._incoming.write(more)
            else:
                self._incoming.write_eof()

    def write(self, data: bytes) -> None:
        """Send; the fence of the wire decides whether it leaves."""
        if data:
            self._tls.write(data)
            self._flush()

    async def drain(self) -> None:
        """Wait until the peer has taken enough of what was written."""
        await self._wire.drain()

    def close(self) -> None:
        """Say that this is the end, and close."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # the peer has not said so too, and need not
            pass
        finally:
            self._flush()
            self._wire.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._wire.write(self._outgoing.read())
