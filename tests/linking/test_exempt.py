"""Who is never linked: by a verified organisation or a contract, and by nothing less."""

from __future__ import annotations

import pytest

from gateway.linking.exempt import COVERING_CONTRACTS, is_exempt
from gateway.model import Grant, Level, Subject


@pytest.mark.parametrize("level", list(Level))
def test_of_all_grants_only_that_of_an_organization_exempts(level: Level) -> None:
    subject = Subject("acc_1", grants=(Grant(level, 1),))
    assert is_exempt(subject) is (level is Level.ORGANIZATION)


@pytest.mark.parametrize("contract", sorted(COVERING_CONTRACTS))
def test_a_contract_that_covers_sharing_exempts(contract: str) -> None:
    assert is_exempt(Subject("acc_1", contracts=("other", contract)))


def test_nobodys_own_word_and_no_other_contract_exempts() -> None:
    assert not is_exempt(Subject("acc_1", org_id="org_1", contracts=("other",)))
