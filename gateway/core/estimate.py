"""Token estimates, calibrated per model from what was really used.

An estimate only decides what is reserved; settlement replaces it by the truth. A wrong one
therefore costs accuracy for the seconds of one exchange, never the bound of a limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from ..model import Usage

FIRST_BYTES_PER_TOKEN = 4.2  # English prose in JSON on common tokenizers, before calibration
FIRST_OUTPUT_TOKENS = 400.0
LEARNING_RATE = 0.02
MAX_MODELS = 512
MIN_BYTES_PER_TOKEN, MAX_BYTES_PER_TOKEN = 1.0, 12.0


Means = tuple[float, float]
"""Bytes per token of input, tokens of output."""


@dataclass(frozen=True, slots=True)
class EstimatorState:
    """What was learnt, by model, and `other`, of all models that have no place of their own."""

    models: dict[str, Means]
    other: Means


@dataclass(slots=True)
class _Calibration:
    bytes_per_token: float = FIRST_BYTES_PER_TOKEN
    output_tokens: float = FIRST_OUTPUT_TOKENS


class TokenEstimator:
    """Running means per model; models beyond `MAX_MODELS` share one calibration."""

    def __init__(self) -> None:
        self._models: dict[str, _Calibration] = {}
        self._other = _Calibration()

    def estimate(
        self, model: str | None, body_bytes: int, max_output_tokens: int | None
    ) -> tuple[int, int]:
        """(input, output) tokens for a body of `body_bytes`; output is capped by the caller's
        own maximum. A model never seen uses the first guesses above."""
        known = self._models.get(model, self._other) if model is not None else self._other
        output = known.output_tokens
        if max_output_tokens is not None:
            output = min(output, max_output_tokens)
        return int(body_bytes / known.bytes_per_token) + 1, int(output)

    def learn(self, model: str | None, body_bytes: int, usage: Usage) -> None:
        """Move the model's means towards one settled exchange. Images and files make bytes per
        token meaningless, so what is out of the plausible range is clamped, not dropped."""
        known = self._calibration(model)
        if usage.input_tokens:
            observed = body_bytes / usage.input_tokens
            observed = min(MAX_BYTES_PER_TOKEN, max(MIN_BYTES_PER_TOKEN, observed))
            known.bytes_per_token += LEARNING_RATE * (observed - known.bytes_per_token)
        if usage.output_tokens is not None:
            known.output_tokens += LEARNING_RATE * (usage.output_tokens - known.output_tokens)

    def snapshot(self) -> EstimatorState:
        """All that was learnt, to go on elsewhere."""
        return EstimatorState(
            {name: (one.bytes_per_token, one.output_tokens) for name, one in self._models.items()},
            (self._other.bytes_per_token, self._other.output_tokens),
        )

    def restore(self, state: EstimatorState) -> None:
        """Become what `state` was. Models beyond `MAX_MODELS` are left out."""
        kept = islice(state.models.items(), MAX_MODELS)
        self._models = {name: _Calibration(*means) for name, means in kept}
        self._other = _Calibration(*state.other)

    def _calibration(self, model: str | None) -> _Calibration:
        if model is None:
            return self._other
        known = self._models.get(model)
        if known is None:
            if len(self._models) >= MAX_MODELS:
                return self._other
            known = self._models[model] = _Calibration()
        return known
