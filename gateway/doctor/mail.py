"""The mail server that codes are handed to: connected, TLS, signed in; no mail is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..adapters.verify.mail import Mailer, MailError
from ..errors import UsageError
from ..preflight import read_shared_secret
from ..settings import Settings
from ..workers.verification_building import smtp_of
from .finding import Finding, bad, ok

TOPIC = "mail server"


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    config = settings.verification
    if config is None or config.smtp is None:
        return
    where = f"{config.smtp.host}:{config.smtp.port}"
    try:
        smtp = smtp_of(config.smtp, read_shared_secret)
    except UsageError as error:
        yield bad(TOPIC, str(error), "repair verification.smtp.password_file")
        return
    mailer = Mailer(smtp, service_name=config.service_name)
    try:
        await mailer.knock()
    except MailError as error:
        yield bad(
            TOPIC,
            f"{where} cannot be used: {error}",
            "check verification.smtp: host, port, tls, user; whoever is asked for a mail address "
            "cannot go on",
        )
    else:
        yield ok(TOPIC, f"{where} answers" + (" and lets us in" if smtp.user else ""))
    finally:
        mailer.close()
