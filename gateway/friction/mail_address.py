"""Mail addresses: which are accepted, which are the same mailbox, and how one is shown.

Sources: RFC 5321 §4.5.3.1 (lengths), RFC 5233 (subaddressing with +). That Gmail ignores dots in
the local part is documented by Google for its own domains only, so it is applied to those only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARS = 254
_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*/=?^_`{|}~+-]+(?:\.[A-Za-z0-9!#$%&'*/=?^_`{|}~+-]+)*")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_SAME_MAILBOX = {"googlemail.com": "gmail.com"}
_IGNORES_DOTS = frozenset({"gmail.com"})


class AddressError(ValueError):
    """The text is no address to which a code can be sent; the message is for its writer."""


@dataclass(frozen=True, slots=True)
class MailAddress:
    """`deliver_to` is as written, its domain in ASCII; `mailbox` is equal for all spellings."""

    deliver_to: str
    mailbox: str
    domain: str

    @property
    def shown(self) -> str:
        """Enough to recognise one's own, too little to learn somebody else's."""
        return f"{self.deliver_to[0]}…@{self.domain}"


def parse_address(text: str) -> MailAddress:
    """Raises AddressError."""
    text = text.strip()
    local, at, domain = text.rpartition("@")
    if not at or len(text) > MAX_CHARS or len(local) > 64 or not _LOCAL.fullmatch(local):
        raise AddressError("This is not a mail address we can write to.")
    domain = _ascii_domain(domain)
    same = _SAME_MAILBOX.get(domain, domain)
    plain = local.lower().partition("+")[0] or local.lower()
    if same in _IGNORES_DOTS:
        plain = plain.replace(".", "")
    return MailAddress(f"{local}@{domain}", f"{plain}@{same}", domain)


def _ascii_domain(domain: str) -> str:
    try:
        ascii_domain = domain.lower().rstrip(".").encode("idna").decode()
    except UnicodeError:
        ascii_domain = ""
    labels = ascii_domain.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError("The part of the address after @ is not a domain name.")
    if labels[-1].isdigit():
        raise AddressError("The part of the address after @ is not a domain name.")
    return ascii_domain


def is_listed(domain: str, listed: frozenset[str]) -> bool:
    """Whether the domain, or one that it lies under, is listed."""
    labels = domain.split(".")
    return any(".".join(labels[start:]) in listed for start in range(len(labels) - 1))
