"""A mail server that keeps what it is handed (RFC 5321, as far as `smtplib` speaks it without TLS)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Mail
from email.policy import default

__all__ = ["MailSink", "mail_sink"]


@dataclass(slots=True)
class MailSink:
    """What arrived. `refusal` is the line that a sender gets instead of 250 for each recipient."""

    port: int = 0
    refusal: str = ""
    mails: list[Mail] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""

        def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")

        say("220 sink.test")
        while line := (await reader.readline()).decode("latin-1").strip():
            match line[:4].upper():
                case "EHLO" | "HELO" | "MAIL" | "RSET":
                    say("250 ok")
                case "RCPT":
                    say(self.refusal or "250 ok")
                case "DATA":
                    say("354 go on")
                    content = (await reader.readuntil(b"\r\n.\r\n")).removesuffix(b".\r\n")
                    self.mails.append(message_from_bytes(content.replace(b"\r\n..", b"\r\n."), policy=default))
                    say("250 taken")
                case "QUIT":
                    say("221 bye")
                    break
                case _:
                    say("502 not here")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def mail_sink() -> AsyncIterator[MailSink]:
    """Listen on a loopback port."""
    sink = MailSink()
    server = await asyncio.start_server(sink.talk, "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await server.wait_closed()
