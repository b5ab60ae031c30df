"""Mail by SMTP (RFC 5321), the message as plain text (RFC 5322)."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final

from tickover.core.notice import EmailTarget, Message, text_of
from tickover.core.text import one_line
from tickover.notify.base import Envelope, NotifyError, Secret

_SECONDS: Final = 30.0


class Notifier:
    """Hands a mail to one server."""

    async def send(self, message: Message, target: EmailTarget, envelope: Envelope, secret: Secret) -> str:
        password = secret(target.password).decode("utf-8", "replace").strip() if target.password else None
        mail = compose(message, target, envelope)
        return await asyncio.to_thread(_hand_over, mail, target, password)


def compose(message: Message, target: EmailTarget, envelope: Envelope) -> EmailMessage:
    """Write the mail. Its Message-ID is the same on every try, so that a repeat is seen as one."""
    mail = EmailMessage()
    mail["From"] = target.sender
    mail["To"] = ", ".join(target.to)
    mail["Subject"] = message.subject
    mail["Date"] = format_datetime(datetime.fromtimestamp(envelope.at, UTC))
    mail["Message-ID"] = f"<{envelope.id}@{target.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text_of(message))
    return mail


def _hand_over(mail: EmailMessage, target: EmailTarget, password: str | None) -> str:
    trust = ssl.create_default_context()
    try:
        if target.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(target.host, target.port, timeout=_SECONDS, context=trust)
        else:
            server = smtplib.SMTP(target.host, target.port, timeout=_SECONDS)
        with server:
            if target.tls == "starttls":
                server.starttls(context=trust)
            if target.user is not None and password is not None:
                server.login(target.user, password)
            refused = server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        raise NotifyError("login", f"the mail server refused the login ({error.smtp_code})", again=False) from None
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        text = f"the mail server answered {error.smtp_code}: {one_line(said)}"
        raise NotifyError("refused", text, again=400 <= error.smtp_code < 500) from None
    except smtplib.SMTPRecipientsRefused as error:
        raise _of_recipients(error.recipients) from None
    except smtplib.SMTPNotSupportedError:
        hint = "`tls: none` sends without, to a server on this machine"
        raise NotifyError("tls", "the mail server offers no STARTTLS or no login", again=False, hint=hint) from None
    except (smtplib.SMTPException, OSError) as error:
        text = f"the mail server could not be reached: {type(error).__name__}"
        raise NotifyError("unreachable", text, again=not isinstance(error, ssl.SSLCertVerificationError)) from None
    if refused:
        raise _of_recipients(refused)
    return f"taken for {len(target.to)} addresses"


def _of_recipients(refused: dict[str, tuple[int, bytes]]) -> NotifyError:
    codes = sorted({code for code, _ in refused.values()})
    text = f"the mail server refused {len(refused)} addresses ({', '.join(map(str, codes))})"
    return NotifyError("refused", text, again=all(400 <= code < 500 for code in codes))
