"""Account facts: what the platform knows of an account from its signup and its bills.

Innocent causes: one payer for many keys, a class or a company behind one address, a cohort that
signs up within an hour. Free-mail domains say nothing and are left out.
"""

from __future__ import annotations

from ..model import SECOND_US
from .evidence import Block, Sight, family

BURST_US = 3600 * SECOND_US
LEAST_IN_BURST = 4  # of a pool that signs up all day, two or three share an hour with anybody
FREE_MAIL = frozenset(
    {
        "126.com",
        "163.com",
        "aol.com",
        "bol.com.br",
        "daum.net",
        "fastmail.com",
        "free.fr",
        "gmail.com",
        "gmx.at",
        "gmx.de",
        "gmx.net",
        "googlemail.com",
        "hey.com",
        "hotmail.com",
        "icloud.com",
        "laposte.net",
        "libero.it",
        "live.com",
        "mail.ru",
        "me.com",
        "msn.com",
        "naver.com",
        "orange.fr",
        "outlook.com",
        "pm.me",
        "proton.me",
        "protonmail.com",
        "qq.com",
        "sina.com",
        "t-online.de",
        "tutanota.com",
        "uol.com.br",
        "wanadoo.fr",
        "web.de",
        "yahoo.com",
        "yandex.ru",
        "zoho.com",
    }
)


@family("payment", Block.FACTS, of_subject=True)
def payment(sight: Sight) -> tuple[str, ...]:
    """Accounts that pay by one instrument."""
    payment = sight.subject.payment
    return () if payment is None else (payment,)


@family("mail_domain", Block.FACTS, of_subject=True)
def mail_domain(sight: Sight) -> tuple[str, ...]:
    """Accounts with addresses under one domain that is no free-mail provider's."""
    domain = (sight.subject.email_domain or "").lower()
    return (domain,) if domain and domain not in FREE_MAIL else ()


@family("signup_network", Block.FACTS, of_subject=True)
def signup_network(sight: Sight) -> tuple[str, ...]:
    """Accounts that were opened from one address (IPv6: one /64)."""
    network = sight.subject.signup_network
    return () if network is None else (network,)


@family("signup_burst", Block.FACTS, of_subject=True, least_sharing=LEAST_IN_BURST)
def signup_burst(sight: Sight) -> tuple[str, ...]:
    """Accounts that were opened within one hour, by one path, billed in one country."""
    subject = sight.subject
    if subject.created_us is None:
        return ()
    hour = subject.created_us // BURST_US
    return (f"{hour}:{subject.signup_path}:{subject.billing_country}",)
