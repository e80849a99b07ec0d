"""What an account's behaviour looks like, as numbers in 0..1 that a linear model can weigh.

Law: everything here follows from the account's window, never from a name, a country, a language or
a price; nor from its age, which is evidence of its own and would make every new customer look bad.
Nothing of it is proof: each of these is ordinary somewhere, and the score is one number to weigh
beside what ties accounts together.
"""

from __future__ import annotations

from math import log
from operator import itemgetter, mul

from ..core import window as at
from ..core.behaviour import DAY_INDEX, Behaviour, evenness, read_window
from .model import Feature, FeatureSet, LinearModel, read_model, scores_of

HEAD = "collecting"  # the one score of an account: is it collecting, rather than using?
BUSY, HEAVY_TOKENS = 5_000, 4_000  # requests a day and tokens a request that count as all of it
LEAST_REQUESTS = 8  # a day, below which rhythm and variety say nothing
ORDINARY_TASKS = 2  # the last two of TASKS: interactive, batch

_FEATURES = (
    ("volume", "sends many requests a day"),
    ("long_answers", "has long answers written"),
    ("long_prompts", "sends long prompts"),
    ("answers_outweigh", "has more written than it sends"),
    ("even_day", "is as busy at each hour of the day"),
    ("many_hours", "is active in many hours of the day"),
    ("few_hours", "sends all of its day's requests within an hour or two"),
    ("gap_seconds", "pauses for seconds between requests"),
    ("gap_minutes", "pauses for minutes between requests"),
    ("gap_long", "pauses for half an hour and longer"),
    ("gap_alike", "makes pauses that are all alike"),
    ("rigid", "never varies temperature or output bound"),
    ("varied", "varies temperature and output bound"),
    ("networks", "comes from many networks a day"),
    ("one_network", "comes from one network, busy as it is"),
    ("end_users", "names many end users"),
    ("clients", "shows several user agents"),
    ("hosting", "comes from hosting networks"),
    ("streamed", "asks for streams"),
    ("refused", "is refused"),
    ("failed", "sends requests that fail at the model"),
    ("retried", "comes back within seconds of a refusal"),
    ("switched", "took up another model within two days"),
    ("grown", "sends far more than it used to"),
    ("shrunk", "sends far less than it used to"),
    ("longer_day", "is active in more hours than it used to be"),
    ("harvest_tasks", "asks for grading, cleaning, synthesis, reasoning or calls of tools"),
    ("narrow_tasks", "asks for one kind of task only"),
    ("narrow_harvest", "asks for one such kind only, many times a day"),
    ("unread", "asks for nothing that has a name"),
)
FEATURES = FeatureSet("account/1", tuple([Feature(*one) for one in _FEATURES]))


def account_values(seen: Behaviour) -> list[float]:
    """By feature, in order; 0 where the window says nothing."""
    requests = seen.requests(DAY_INDEX)
    enough = 1.0 if requests >= LEAST_REQUESTS else 0.0
    volume = scaled(requests, BUSY)
    tokens_in, tokens_out = seen.input_tokens(DAY_INDEX), seen.output_tokens(DAY_INDEX)
    values = [
        volume,
        scaled(tokens_out / max(1, requests), HEAVY_TOKENS),
        scaled(tokens_in / max(1, requests), HEAVY_TOKENS),
        enough * tokens_out / max(1, tokens_in + tokens_out),
    ]
    values += _rhythm(seen, enough)
    values += _variety(seen, enough, volume)
    values += _kinds(seen)
    values += _change(seen)
    return values + _tasks(seen, volume)


def _rhythm(seen: Behaviour, enough: float) -> list[float]:
    gaps = seen.gaps
    total = sum(gaps)
    found = [enough * seen.day_evenness(), seen.active_hours / 24]
    found.append(enough if seen.active_hours <= 2 else 0.0)
    if total < LEAST_REQUESTS:
        return [*found, 0.0, 0.0, 0.0, 0.0]
    seconds, minutes, long = sum(gaps[:3]), sum(gaps[3:5]), sum(gaps[6:])
    alike = 1.0 - evenness(gaps)
    return [*found, seconds / total, minutes / total, long / total, alike]


def _variety(seen: Behaviour, enough: float, volume: float) -> list[float]:
    parameters = seen.distinct(at.PARAMETERS)
    networks = seen.distinct(at.NETWORKS)
    return [
        volume if parameters <= 1 else 0.0,
        enough * scaled(max(0, parameters - 1), 30),
        scaled(max(0, networks - 1), 60),
        volume if networks == 1 else 0.0,
        scaled(seen.distinct(at.USERS), 60),
        scaled(max(0, seen.distinct(at.CLIENTS) - 1), 10),
    ]


def _kinds(seen: Behaviour) -> list[float]:
    kinds = (at.HOSTING, at.STREAMED, at.REFUSED, at.FAILED, at.RETRIED)
    found = [seen.share(kind) or 0.0 for kind in kinds]
    switch_s = seen.model_switch_s()
    return [*found, 1.0 if switch_s is not None and switch_s < 2 * at.DAY_S else 0.0]


def _change(seen: Behaviour) -> list[float]:
    change, hours = seen.volume_change(), seen.hours_change()
    if change is None or hours is None:
        return [0.0, 0.0, 0.0]
    steps = log(max(change, 1 / 64)) / log(64)
    return [bounded(steps), bounded(-steps), bounded(hours / 12)]


def _tasks(seen: Behaviour, volume: float) -> list[float]:
    tasks = seen.tasks
    named = sum(tasks)
    if not named:
        return [0.0, 0.0, 0.0, volume]
    harvest = sum(tasks[:-ORDINARY_TASKS]) / named
    narrow = max(tasks) / named
    most = max(tasks[:-ORDINARY_TASKS]) / named
    return [harvest, narrow, most * volume, 0.0]


def scaled(count: float, much: float) -> float:
    """0 for nothing, 1 from `much` on, by orders of magnitude in between."""
    return bounded(log(1 + count) / log(1 + much))


def bounded(value: float) -> float:
    return min(1.0, max(0.0, value))


def score_account(model: LinearModel, packed: bytes | None, now_s: int) -> float | None:
    """How much the window looks like collecting, 0..1; None where nothing is kept."""
    seen = read_window(packed, now_s)
    if seen is None:
        return None
    # As `LinearModel.scores`, for its first head alone.
    logit = sum(map(mul, map(itemgetter(0), model.columns), account_values(seen)), model.start[0])
    return scores_of([logit])[0]


def read_account_model(raw: bytes, where: str) -> LinearModel:
    """Raises ModelError where the file does not fit `FEATURES`."""
    return read_model(raw, FEATURES, where)
