"""A real SMTP server on the loopback that keeps what it is handed."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

from gateway.loadtests.servers.ports import free_port


class Mailbox:
    """`messages` in order; `refuses` makes the server say no."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.refuses = False
        self.port = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refuses:
            return "451 not now"
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        message["X-Envelope-To"] = ", ".join(envelope.rcpt_tos)
        self.messages.append(message)
        return "250 kept"

    def last_code(self) -> str:
        found = re.search(r"code is (\d{4}) (\d{4})", self.last_text())
        assert found is not None
        return found[1] + found[2]

    def last_link(self) -> str:
        found = re.search(r"^http\S+", self.last_text(), re.MULTILINE)
        assert found is not None
        return found[0]

    def last_text(self) -> str:
        text: str = self.messages[-1].get_content()
        return text


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=box.port, ready_timeout=20)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
