"""What providers tell: a result that is believed by its signature, told any number of times."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...friction.record import Outcome
from ...model import SECOND_US
from ...ports import Clock
from .incoming import SECURITY, RefusedError, read_body
from .port import Desk, Provider
from .providers import READERS
from .providers.result import WebhookError

MAX_WEBHOOK_BYTES = 65_536


class Webhooks:
    """One path for each provider; `count` is told its name and what came of a call."""

    def __init__(
        self,
        desk: Desk,
        providers: Mapping[str, Provider],
        *,
        clock: Clock,
        count: Callable[[str, str], None],
        body_timeout_s: float,
    ) -> None:
        self._desk = desk
        self._providers = providers
        self._clock = clock
        self._count = count
        self._body_timeout_s = body_timeout_s

    async def take(self, request: Request) -> Response:
        """A provider's result. Told twice it is thanked twice and counts once."""
        name = request.path_params["name"]
        provider = self._providers.get(name)
        if provider is None:
            raise RefusedError(404, "not_found", "There is nothing here.")
        body = await read_body(request, MAX_WEBHOOK_BYTES, self._body_timeout_s)
        headers = {key.lower(): value for key, value in request.headers.items()}
        now_s = self._clock.now_us() // SECOND_US
        try:
            result = READERS[provider.kind](body, headers, provider.secret, now_s)
        except WebhookError as error:
            self._count(name, error.reason)
            return JSONResponse({"error": error.reason}, 400, headers=SECURITY)
        if not result.is_final:
            self._count(name, "ignored")
            return JSONResponse({"outcome": "ignored"}, headers=SECURITY)
        outcome = Outcome.UNKNOWN_SESSION
        if result.level in provider.levels:
            has_proof = result.fingerprint is not None or not provider.needs_fingerprint
            outcome = await self._desk.settle_session(
                result.session,
                provider=name,
                level=result.level,
                has_passed=result.has_passed and has_proof,
                fingerprint=result.fingerprint,
            )
        self._count(name, outcome.value)
        status = 409 if outcome is Outcome.UNKNOWN_SESSION else 200
        return JSONResponse({"outcome": outcome.value}, status, headers=SECURITY)
