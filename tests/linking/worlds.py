"""Small populations with known hands, as evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.linking.evidence import Key
from gateway.linking.linker import Evidence
from gateway.model import SECOND_US

NOW_US = 1_800_000_000 * SECOND_US
HOUR_US = 3600 * SECOND_US


def shows(account_id: str, *pairs: tuple[str, str], is_exempt: bool = False) -> Evidence:
    keys = tuple(Key(family, value) for family, value in pairs)
    return Evidence(account_id, NOW_US, keys, is_exempt)


def bystanders(count: int) -> Iterator[Evidence]:
    """Accounts that share nothing with anybody."""
    for n in range(count):
        yield shows(
            f"by_{n}",
            ("system_prompt", f"own prompt {n}"),
            ("payment", f"own card {n}"),
            ("signup_network", f"own home {n}"),
        )


def pool(size: int, *, name: str = "pool", prompt: str = "template") -> Iterator[Evidence]:
    """Bought in bulk: payers, signup addresses and mail domains overlap crosswise."""
    for n in range(size):
        yield shows(
            f"{name}_{n}",
            ("system_prompt", prompt),
            ("payment", f"{name} card {n // 12}"),
            ("signup_network", f"{name} home {n // 8}"),
            ("mail_domain", f"{name} domain {n // 60}"),
        )


def honest_groups(
    groups: int, size: int, *, prompt: str = "template", cause: str = "payment"
) -> Iterator[Evidence]:
    """Agencies or classrooms: each explained by one value, all with one popular prompt."""
    for group in range(groups):
        for n in range(size):
            yield shows(
                f"{cause}_{group}_{n}",
                ("system_prompt", prompt),
                (cause, f"{cause} of group {group}"),
                ("signup_burst", f"{cause} hour of group {group}, half {n % 2}"),
            )


def all_of(*parts: Iterable[Evidence]) -> list[Evidence]:
    return [one for part in parts for one in part]
