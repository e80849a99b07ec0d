"""What one record changes of an account, and what a ban takes and an unban gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Status, Subject, with_changes

EDGE_KEY_ID = "edge"


@dataclass(frozen=True, slots=True)
class AccountChange:
    """One record: `fields` holds what it says (present and null clears), `credentials` keyed
    hash → key id, None where the record is silent about keys."""

    account_id: str
    fields: Mapping[str, Any]
    credentials: Mapping[str, str] | None
    identity: str | None = None  # the credential under which an edge names the account
    is_removal: bool = False
    source: str = ""  # the file and the line that say so, for complaints
    line: int = 0

    def apply(self, subject: Subject | None) -> Subject:
        before = subject or Subject(self.account_id)
        if self.fields.get("status") is Status.BANNED:
            before = banned(before)
        elif "status" in self.fields:
            before = unbanned(before)
        return with_changes(before, **self.fields)

    def credentials_for(self, stored: Subject | None) -> Mapping[str, str] | None:
        """The account's keys after this change; None keeps them as they are."""
        if self.credentials is None and (stored is not None or self.identity is None):
            return None
        edge = {} if self.identity is None else {self.identity: EDGE_KEY_ID}
        return {**(self.credentials or {}), **edge}

    def base_for_replacement(self, stored: Subject) -> Subject:
        """What a replacing record leaves as it was: what people and the linker decided."""
        return with_changes(
            Subject(self.account_id),
            version=stored.version,
            pseudonym=stored.pseudonym,
            status=stored.status,
            before_ban=stored.before_ban,
            grants=stored.grants,
            cluster_id=stored.cluster_id,
            cluster_state=stored.cluster_state,
            cluster_size=stored.cluster_size,
            cluster_since_us=stored.cluster_since_us,
            suspicion=stored.suspicion,
            linked_users=stored.linked_users,
        )


def banned(subject: Subject) -> Subject:
    """Closed; who is banned twice is unbanned into what it was before the first ban."""
    if subject.status is Status.BANNED:
        return subject
    return with_changes(subject, status=Status.BANNED, before_ban=subject.status)


def unbanned(subject: Subject) -> Subject:
    """As it was before the ban; who is not banned stays as it is."""
    if subject.status is not Status.BANNED:
        return subject
    return with_changes(subject, status=subject.before_ban, before_ban=Status.ACTIVE)
