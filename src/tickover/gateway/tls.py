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
_RECORD_BYTES = 16_384


class Secure:
    """One end of TLS: the server's without `server_name`, else a client's that asks for that name."""

    def __init__(
        self,
        wire: Wire,
        context: ssl.SSLContext,
        *,
        server_name: str | None = None,
        first: bytes = b"",
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._wire = wire
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._is_server = server_name is None
        self._tls = context.wrap_bio(self._incoming, self._outgoing, self._is_server, server_name, session)
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
                data = self._read_held()
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

    def _read_held(self) -> bytes:
        """Read the records that are there: one call of OpenSSL's gives one of them."""
        data = self._tls.read(_READ_BYTES)
        if len(data) < _RECORD_BYTES or not self._incoming.pending:
            return data
        pieces, size = [data], len(data)
        while size < _READ_BYTES and self._incoming.pending:
            try:
                data = self._tls.read(_READ_BYTES - size)
            except ssl.SSLError:  # more is needed, or this is the end: the next call says which
                break
            if not data:
                break
            pieces.append(data)
            size += len(data)
        return b"".join(pieces)

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection to the same server may resume; TLS 1.3 has it only after the first answer."""
        return self._tls.session

    @property
    def resumed(self) -> bool:
        return bool(self._tls.session_reused)

    @property
    def quiet(self) -> bool:
        """Whether the peer has said nothing that was not read, not even that this is the end."""
        if data := self._wire.take():
            self._incoming.write(data)
        try:
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return self._wire.quiet
        except ssl.SSLError:
            pass
        return False

    @property
    def writable(self) -> bool:
        """Whether the peer takes what is written."""
        return self._wire.writable

    def reset(self) -> None:
        """Break off, so that nobody takes this for the end."""
        self._wire.reset()

    def write(self, data: bytes) -> None:
        """Send; the fence of the wire decides whether it leaves."""
        if data:
            try:
                self._tls.write(data)
            except ssl.SSLError:  # what was said before broke it
                self._wire.reset()
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
