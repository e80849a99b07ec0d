"""What one account did of late, in 184 bytes: sliding counters, kept with the account.

Law: `see` is the twin of the window part of `settle.lua`, number by number, so that a replay counts
what a live gateway counts. All is integer arithmetic on data, never on a clock: an exchange counts
at the second of its arrival, though never ahead of the store's own time, and one that is settled
late counts where the window has got to by then. Every counter stops at its type's bound, or is
halved with those that it is compared with; nothing here grows.

    volume    requests, input and output tokens of this hour, day and week (UTC) and the one before
    hours     requests of each of the last 24 hours, up to 255 an hour
    gaps      seconds between requests, in powers of four, the last few hundred of them
    sketches  one bit a value, two generations of 12 hours: parameters, networks, users, clients,
              workspaces
    shares    what kind of requests they were, halved every 12 hours
    usual     requests a day and active hours a day as they were before today
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

HOUR_S, DAY_S, WEEK_S = 3600, 86_400, 7 * 86_400
PERIOD_S = 12 * HOUR_S  # a generation of sketches, the half-life of shares
KEPT_S = 8 * DAY_S  # an account that is idle for longer starts anew
RETRY_WITHIN_S = 5  # of a refusal
VOLUMES_S = (HOUR_S, DAY_S, WEEK_S)

# ── where each number is; `settle.lua` counts from one ───────────────────────────────────────

LAST_S, NEW_MODEL_S, REFUSED_S, COUNTRY_S, USUAL_DAY = range(5)
VOLUME = 5  # of each of VOLUMES_S: requests, input, output; then the same of the one before
NETWORKS, USERS = 23, 25  # this period's bits, then the last one's; 32 bits each
MODELS = 27
PARAMETERS, CLIENTS, WORKSPACES = 28, 30, 32  # likewise; 16 bits each
FIRST_DAY, NEWEST_MODEL, COUNTRY = 34, 35, 36
SEEN, HOSTING, STREAMED, REFUSED, FAILED, RETRIED = range(37, 43)
HOURS, GAPS, TASKS, USUAL_HOURS = 43, 67, 75, 84
COUNT = 85
SKETCHES = (PARAMETERS, NETWORKS, USERS, CLIENTS, WORKSPACES)
GAP_CLASSES = 8  # under 1, 4, 16, 64, 256, 1024, 4096 seconds, and beyond
TASK_CLASSES = 9

U32, U16, U8 = (1 << 32) - 1, (1 << 16) - 1, (1 << 8) - 1
USUAL_SCALE, HOURS_SCALE = 16, 8
USUAL_WEIGHT = 8  # a day moves what is usual by an eighth
NO_BIT = 255
SKETCH_BITS, NARROW_BITS = 32, 16

LAYOUT = Struct("<28I15H42B")
WINDOW_BYTES = LAYOUT.size

# ── one exchange ─────────────────────────────────────────────────────────────────────────────

IS_REFUSED, IS_HOSTING, IS_STREAMED, IS_FAILED = 1, 2, 4, 8
SIGHTING = Struct("<4I8B2H")
"""Second of arrival, requests, input tokens, output tokens; flags, the bits of its parameters,
network, end user, client, workspace and model (NO_BIT: unknown), task (NO_BIT: none); model and
country (0: unknown)."""


def see(packed: bytes | None, sighting: bytes, now_s: int) -> bytes:
    """The window after one more exchange, packed as SIGHTING; None for an account not seen yet."""
    at_s, requests, input_tokens, output_tokens, flags, *bits, task, model, country = (
        SIGHTING.unpack(sighting)
    )
    at_s = min(at_s, now_s)
    kept = opened(packed, at_s)
    is_known = kept is not None
    w = [0] * COUNT if kept is None else list(kept)
    if not is_known:
        w[LAST_S], w[FIRST_DAY] = at_s, at_s // DAY_S
    at_s = max(at_s, w[LAST_S])
    gap_s = at_s - w[LAST_S]
    roll(w, at_s)
    _count_kind(w, at_s, flags)
    if not flags & IS_REFUSED:
        _count_volume(w, at_s, (requests, input_tokens, output_tokens))
        if is_known:
            _count_class(w, GAPS, GAP_CLASSES, gap_class(gap_s))
        _mark(w, bits, at_s, model)
        if task < TASK_CLASSES:
            _count_class(w, TASKS, TASK_CLASSES, task)
        if country:
            w[COUNTRY], w[COUNTRY_S] = country, at_s
    return LAYOUT.pack(*w)


def opened(packed: bytes | None, at_s: int) -> tuple[int, ...] | None:
    """The numbers as they were kept; None where there are none, or of long ago."""
    if packed is None or len(packed) != WINDOW_BYTES:
        return None
    w = LAYOUT.unpack(packed)
    return w if at_s - w[LAST_S] < KEPT_S else None


def is_idle(packed: bytes, now_s: int) -> bool:
    """Whether it is as good as none."""
    return now_s - int.from_bytes(packed[:4], "little") >= KEPT_S  # LAST_S comes first


def roll(w: list[int], at_s: int) -> None:
    """Let time pass until `at_s`, which is not before the window's last second."""
    last_s = w[LAST_S]
    w[LAST_S] = at_s
    hours = at_s // HOUR_S - last_s // HOUR_S
    if hours == 0:
        return
    days = at_s // DAY_S - last_s // DAY_S
    if days:
        _learn_usual(w, last_s, days)
    for number, length_s in enumerate(VOLUMES_S):
        passed, first = at_s // length_s - last_s // length_s, VOLUME + 6 * number
        if passed:
            w[first + 3 : first + 6] = w[first : first + 3] if passed == 1 else (0, 0, 0)
            w[first : first + 3] = (0, 0, 0)
    for hour in range(last_s // HOUR_S + 1, last_s // HOUR_S + 1 + min(hours, 24)):
        w[HOURS + hour % 24] = 0
    periods = at_s // PERIOD_S - last_s // PERIOD_S
    if periods:
        for sketch in SKETCHES:
            w[sketch + 1] = w[sketch] if periods == 1 else 0
            w[sketch] = 0
        _halve(w, range(SEEN, RETRIED + 1), periods)


def _learn_usual(w: list[int], last_s: int, days: int) -> None:
    """A day is over; of days on which nothing came only the requests count."""
    requests = min(w[VOLUME + 6] * USUAL_SCALE, U32)
    usual = w[USUAL_DAY]
    usual = usual + (requests - usual) // USUAL_WEIGHT if usual else requests
    for _ in range(min(days - 1, 8)):
        usual -= usual // USUAL_WEIGHT
    w[USUAL_DAY] = usual
    until = HOURS + last_s // HOUR_S % 24 + 1
    active = sum(1 for count in w[HOURS:until] if count) * HOURS_SCALE
    before = w[USUAL_HOURS]
    w[USUAL_HOURS] = before + (active - before) // USUAL_WEIGHT if before else active


def _count_kind(w: list[int], at_s: int, flags: int) -> None:
    if w[SEEN] >= U16:
        _halve(w, range(SEEN, RETRIED + 1), 1)
    w[SEEN] += 1
    if w[REFUSED_S] and at_s - w[REFUSED_S] <= RETRY_WITHIN_S:
        w[RETRIED] += 1
    if flags & IS_REFUSED:
        w[REFUSED] += 1
        w[REFUSED_S] = at_s
        return
    for flag, place in ((IS_HOSTING, HOSTING), (IS_STREAMED, STREAMED), (IS_FAILED, FAILED)):
        if flags & flag:
            w[place] += 1


def _count_volume(w: list[int], at_s: int, amounts: tuple[int, int, int]) -> None:
    for first in (VOLUME, VOLUME + 6, VOLUME + 12):
        for place, amount in enumerate(amounts, first):
            w[place] = min(w[place] + amount, U32)
    hour = HOURS + at_s // HOUR_S % 24
    w[hour] = min(w[hour] + amounts[0], U8)


def _mark(w: list[int], bits: Iterable[int], at_s: int, model: int) -> None:
    for place, bit in zip((*SKETCHES, MODELS), bits, strict=True):
        most = SKETCH_BITS if place <= MODELS else NARROW_BITS
        if bit >= most or w[place] >> bit & 1:
            continue
        if place == MODELS:
            w[NEWEST_MODEL] = model
            if w[MODELS]:  # the first one is no switch
                w[NEW_MODEL_S] = at_s
        w[place] |= 1 << bit


def gap_class(gap_s: int) -> int:
    """0 under a second, 1 under 4, 2 under 16 … 7 from 4096 seconds on."""
    bound, found = 1, 0
    while found < GAP_CLASSES - 1 and gap_s >= bound:
        bound, found = bound * 4, found + 1
    return found


def _count_class(w: list[int], first: int, count: int, which: int) -> None:
    if w[first + which] >= U8:
        _halve(w, range(first, first + count), 1)
    w[first + which] += 1


def _halve(w: list[int], places: Iterable[int], times: int) -> None:
    shift = min(times, 16)
    for place in places:
        w[place] >>= shift
