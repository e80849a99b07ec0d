"""Codes by mail, over SMTP in threads of their own: the serving loop never waits for a mail server.

At most `MAX_AT_ONCE` messages are under way at a time; one more is refused, and its caller told to
try again. What the mail server says is logged without the address.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

log = logging.getLogger("hydragate.verify")

MAX_AT_ONCE = 16
THREADS = 4


class MailError(Exception):
    """The message was not handed over; the caller may try again."""


@dataclass(frozen=True, slots=True)
class Smtp:
    """A mail server. `password` goes over TLS only."""

    host: str
    port: int
    tls: str  # starttls, tls, none
    sender: str
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    timeout_s: float = 10.0


class Mailer:
    """One process's way out."""

    def __init__(self, smtp: Smtp, *, service_name: str) -> None:
        self._smtp = smtp
        self._service = service_name
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="mail")
        self._under_way = 0

    async def send_code(self, to: str, code: str, link: str, *, minutes: int) -> None:
        """Raises MailError."""
        if self._under_way >= MAX_AT_ONCE:
            raise MailError("too much mail is under way")
        self._under_way += 1
        try:
            message = code_message(
                to, code, link, minutes=minutes, sender=self._smtp.sender, service=self._service
            )
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, self._hand_over, message)
        finally:
            self._under_way -= 1

    async def knock(self) -> None:
        """Connect and sign in as for a code, and send nothing. Raises MailError, with the server's
        words: there is no address in them."""
        await asyncio.get_running_loop().run_in_executor(self._threads, self._try_door)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hand_over(self, message: EmailMessage) -> None:
        try:
            with self._connected() as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            kind = type(error).__name__
            log.warning("a code could not be mailed: %s", kind)  # the text may hold the address
            raise MailError(kind) from None

    def _try_door(self) -> None:
        try:
            with self._connected() as server:
                server.noop()
        except (OSError, smtplib.SMTPException) as error:
            raise MailError(f"{type(error).__name__}: {error}") from None

    def _connected(self) -> smtplib.SMTP:
        smtp = self._smtp
        context = ssl.create_default_context(cafile=smtp.ca_file)
        server: smtplib.SMTP
        if smtp.tls == "tls":
            server = smtplib.SMTP_SSL(smtp.host, smtp.port, timeout=smtp.timeout_s, context=context)
        else:
            server = smtplib.SMTP(smtp.host, smtp.port, timeout=smtp.timeout_s)
            if smtp.tls == "starttls":
                server.starttls(context=context)
        if smtp.user is not None and smtp.password is not None:
            server.login(smtp.user, smtp.password)
        return server


def code_message(
    to: str, code: str, link: str, *, minutes: int, sender: str, service: str
) -> EmailMessage:
    """Plain text. It says what to do if one has not asked: somebody may use another's address."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = f"Your code for {service}: {code[:4]} {code[4:]}"
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies, please
    message.set_content(
        f"Your code is {code[:4]} {code[4:]}. It works once, for {minutes} minutes.\n\n"
        f"Enter it on the page where you asked for it, or open this link and confirm there:\n"
        f"{link}\n\n"
        f"It confirms that this mailbox belongs to an account of {service}. If you have not asked "
        f"for it,\nsomebody has mistyped an address or is using yours: do not pass the code on "
        f"and do not open\nthe link. Nothing happens then.\n"
    )
    return message
