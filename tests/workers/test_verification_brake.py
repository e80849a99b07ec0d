"""A store that is late for once does not send whoever reads a page away."""

from __future__ import annotations

from typing import Any, cast

import pytest

from gateway.errors import StoreError
from gateway.friction import brakes
from gateway.model import ChargeReply
from gateway.workers import verification_desk
from gateway.workers.verification_desk import VerificationDesk


class LateStore:
    """Fails so many times, then answers."""

    def __init__(self, failures: int) -> None:
        self.calls = 0
        self._failures = failures

    async def charge(self, charge: object) -> ChargeReply:
        self.calls += 1
        if self.calls <= self._failures:
            raise StoreError("timeout", "no reply in time")
        return ChargeReply(0, (), applied=True)


def desk_on(store: LateStore) -> VerificationDesk:
    desk = VerificationDesk.__new__(VerificationDesk)
    desk._store = cast(Any, store)
    return desk


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification_desk, "BRAKE_PAUSES_S", (0.0, 0.0, 0.0))


@pytest.mark.parametrize("failures", [0, 1, 3])
async def test_it_is_asked_again(failures: int) -> None:
    store = LateStore(failures)
    charge = brakes.visit_brakes("lease", network="n")
    assert await desk_on(store).brake(charge) is None
    assert store.calls == failures + 1


async def test_but_not_for_ever() -> None:
    store = LateStore(99)
    with pytest.raises(StoreError):
        await desk_on(store).brake(brakes.visit_brakes("lease", network="n"))
    assert store.calls == 4
