"""Reads the source traces where they are present, for fitting and for two-sample tests.

Nothing else needs them: what the worlds use is in `fitted/`.
"""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from .copula import Floats

WINDOW_S = 600
HOURS_A_DAY = 24
CLIENTS = "A_servegen_client_traces.csv.gz"
CLIENT_LENGTHS = "A_servegen_client_lengths_quantiles.jsonl.gz"
CODE = "A_azure_llm_2023_code.csv.gz"
SUMMARISE = "A_vidur_arxiv_summarization_lengths.csv.gz"
# ServeGen gives each client-window's lengths at these probabilities, and the maximum.
PROBABILITIES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class ClientTrace:
    """One ServeGen client: its ten-minute windows with traffic (at least ten requests each)."""

    category: str
    model: str
    client: int
    starts_s: Floats
    counts: Floats
    cvs: Floats
    weibull: Floats  # 1 where the window's gaps were fitted by Weibull, 0 by Gamma
    shapes: Floats  # of the fitted distribution

    def hourly(self, hours: int) -> Floats:
        """Requests in each of the first `hours` hours."""
        found = np.bincount(
            (self.starts_s // 3600).astype(int), weights=self.counts, minlength=hours
        )
        return found[:hours].astype(np.float64)


class ClientLengths(msgspec.Struct, frozen=True):
    """Quantiles of one client's token counts in one window of six hours."""

    category: str
    model: str
    client: int
    input_tokens: list[float] = []
    output_tokens: list[float] = []


def client_traces(directory: Path) -> list[ClientTrace]:
    """All clients of ServeGen's traces, in the file's order."""
    rows: dict[tuple[str, str, int], list[tuple[float, ...]]] = defaultdict(list)
    with gzip.open(directory / CLIENTS, "rt") as file:
        for row in csv.DictReader(file):
            key = (row["category"], row["model"], int(row["client"]))
            rows[key].append(
                (
                    float(row["t_start_s"]),
                    float(row["rate"]) * WINDOW_S,
                    float(row["cv"]),
                    float(row["pattern"] == "Weibull"),
                    float(row["p1"] or "nan"),
                )
            )
    return [ClientTrace(*key, *np.array(values).T) for key, values in rows.items()]


def client_lengths(directory: Path) -> list[ClientLengths]:
    """Every client's and window's quantiles that have both input and output."""
    decoder = msgspec.json.Decoder(ClientLengths)
    kept = []
    with gzip.open(directory / CLIENT_LENGTHS, "rb") as file:
        for line in file:
            lengths = decoder.decode(line)
            if lengths.input_tokens and lengths.output_tokens:
                kept.append(lengths)
    return kept


def code_trace(directory: Path) -> tuple[Floats, Floats, Floats]:
    """Azure's code service: arrival seconds, input tokens, output tokens."""
    with gzip.open(directory / CODE, "rt") as file:
        rows = list(csv.DictReader(file))
    # Seven decimals; Python reads six.
    times = [datetime.fromisoformat(row["TIMESTAMP"][:26]).replace(tzinfo=UTC) for row in rows]
    return (
        np.array([time.timestamp() for time in times]),
        np.array([float(row["ContextTokens"]) for row in rows]),
        np.array([float(row["GeneratedTokens"]) for row in rows]),
    )


def summarise_trace(directory: Path) -> tuple[Floats, Floats]:
    """Summaries of papers (Vidur): input tokens, output tokens."""
    with gzip.open(directory / SUMMARISE, "rt") as file:
        rows = list(csv.DictReader(file))
    return (
        np.array([float(row["num_prefill_tokens"]) for row in rows]),
        np.array([float(row["num_decode_tokens"]) for row in rows]),
    )
