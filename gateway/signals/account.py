"""Who the account is: what the operator's records and the verifications say."""

from __future__ import annotations

from ..model import SECOND_US, Level, RequestFacts, Status, Subject
from ..registry import signal


@signal("account_id", type=str)
def account_id(facts: RequestFacts, subject: Subject) -> str:
    """The account behind the credential, by the operator's own id."""
    return subject.account_id


@signal("status", type=str)
def status(facts: RequestFacts, subject: Subject) -> str:
    """active, adopted (an unknown key that the upstream accepted), provisional or banned."""
    return subject.status.value


@signal("org_id", type=str)
def org_id(facts: RequestFacts, subject: Subject) -> str | None:
    """The organization that the account says it belongs to; None without one."""
    return subject.org_id


@signal("tier", type=str)
def tier(facts: RequestFacts, subject: Subject) -> str | None:
    """The plan that the account is on, by the operator's own name; None when not recorded."""
    return subject.tier


@signal("account_age_s", type=int, low=0)
def account_age_s(facts: RequestFacts, subject: Subject) -> int | None:
    """Seconds since the account was created, at least 0; None when nobody recorded it."""
    if subject.created_us is None:
        return None
    return max(0, (facts.received_us - subject.created_us) // SECOND_US)


@signal("verification", type=Level)
def verification(facts: RequestFacts, subject: Subject) -> Level:
    """The highest level that was passed and has not expired: none to organization."""
    highest = Level.NONE
    for grant in subject.grants:
        is_valid = grant.expires_us is None or grant.expires_us > facts.received_us
        if is_valid and grant.level > highest:
            highest = grant.level
    return highest


@signal("billing_country", type=str)
def billing_country(facts: RequestFacts, subject: Subject) -> str | None:
    """Country of the payment method, ISO 3166-1 alpha-2 in capitals; None when not recorded."""
    return subject.billing_country


@signal("phone_country", type=str)
def phone_country(facts: RequestFacts, subject: Subject) -> str | None:
    """Country of the phone number, ISO 3166-1 alpha-2 in capitals; None when not recorded."""
    return subject.phone_country


@signal("email_domain", type=str)
def email_domain(facts: RequestFacts, subject: Subject) -> str | None:
    """Domain of the account's mail address in lower case; None when not recorded."""
    return None if subject.email_domain is None else subject.email_domain.lower()


@signal("payment", type=str)
def payment(facts: RequestFacts, subject: Subject) -> str | None:
    """Keyed hash of the payment fingerprint: fit to group by, not to read; None without one."""
    return subject.payment


@signal("signup_network", type=str)
def signup_network(facts: RequestFacts, subject: Subject) -> str | None:
    """Keyed hash of the network that the account was created from; None when not recorded."""
    return subject.signup_network


@signal("signup_path", type=str)
def signup_path(facts: RequestFacts, subject: Subject) -> str | None:
    """standard, education, startup or research; None when not recorded."""
    return subject.signup_path


@signal("contracts", type=tuple)
def contracts(facts: RequestFacts, subject: Subject) -> tuple[str, ...]:
    """Uses agreed with the operator, such as synthetic-data or aggregator; often empty."""
    return subject.contracts


@signal("sub_users", type=bool)
def sub_users(facts: RequestFacts, subject: Subject) -> bool:
    """Whether the account is known to serve users of its own; false when not recorded."""
    return subject.sub_users


@signal("key", type=str)
def key(facts: RequestFacts, subject: Subject) -> str | None:
    """Keyed hash of the API key in use; None for a key that the upstream has not accepted yet,
    so that invented keys leave no counters behind."""
    return None if subject.status is Status.PROVISIONAL else facts.credential
