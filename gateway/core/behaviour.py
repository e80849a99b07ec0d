"""What an account's window says at one instant: rates, shares, distinct values, change.

A window that slides is read off two that stand (`sliding`): this hour's, day's or week's count and
as much of the one before as still lies within. Where the 24 hourly counts are not full, requests of
24 hours are their sum, which is this hour and the 23 before it.

Sources: sliding counters from two fixed windows, as limiters use them; Whang, Vander-Zanden and
Taylor, "A Linear-Time Probabilistic Counting Algorithm", ACM TODS 15(2), 1990.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log
from struct import Struct
from typing import Final

from . import window as at
from .sighting import country_of

MAX_READ = 1  # of the request at hand; numbers that outlive it only push others out of the caches
DAY_INDEX: Final = 1


def _by_bits(size: int) -> tuple[int, ...]:
    """Values that were counted in a sketch of `size` bits, by the number of bits that are set; a
    full one says what it is at least."""
    return (*(round(size * log(size / (size - n))) for n in range(size)), round(size * log(size)))


_DISTINCT, _DISTINCT_NARROW = _by_bits(at.SKETCH_BITS), _by_bits(at.NARROW_BITS)
_LAST = Struct("<I").unpack_from  # LAST_S
_GLANCE = Struct("<I8xI112x7H").unpack_from  # LAST_S, COUNTRY_S, COUNTRY, SEEN to RETRIED
FULL_DISTINCT, FULL_NARROW = _DISTINCT[-1], _DISTINCT_NARROW[-1]
"""111 and 44."""
_N_LOG_N = (0.0, *(n * log(n) for n in range(1, at.U8 + 1)))


class Behaviour:
    """The window of one account at `now_s`."""

    __slots__ = ("_last_s", "_w", "now_s")

    def __init__(self, numbers: Sequence[int], now_s: int) -> None:
        """`numbers` as `window.opened` gives them."""
        last_s = self._last_s = numbers[at.LAST_S]
        self.now_s = now_s if now_s > last_s else last_s
        if self.now_s // at.HOUR_S != last_s // at.HOUR_S:
            numbers = list(numbers)
            at.roll(numbers, self.now_s)
        self._w = numbers

    # ── volume ───────────────────────────────────────────────────────────────────────────────

    def requests(self, span: int) -> int:
        """Of the last hour (0), 24 hours (1) or 7 days (2), likewise below."""
        if span == DAY_INDEX:
            hours = self.hours
            if max(hours) < at.U8:
                return sum(hours)
        return self._sliding(span, 0)

    def input_tokens(self, span: int) -> int:
        return self._sliding(span, 1)

    def output_tokens(self, span: int) -> int:
        return self._sliding(span, 2)

    def _sliding(self, span: int, quantity: int) -> int:
        length_s, place = at.VOLUMES_S[span], at.VOLUME + 6 * span + quantity
        still_s = length_s - self.now_s % length_s
        return self._w[place] + self._w[place + 3] * still_s // length_s

    @property
    def hours(self) -> Sequence[int]:
        """Requests by hour of the day (UTC) over the last 24 hours, each up to 255."""
        return self._w[at.HOURS : at.GAPS]

    @property
    def active_hours(self) -> int:
        return 24 - self.hours.count(0)

    def day_evenness(self) -> float:
        """Entropy of the hours over that of a flat day, 0..1; 0 without requests."""
        return evenness(self.hours)

    # ── rhythm ───────────────────────────────────────────────────────────────────────────────

    @property
    def gaps(self) -> Sequence[int]:
        """Of the last few hundred pauses between requests how many lay in each class of
        `window.gap_class`."""
        return self._w[at.GAPS : at.TASKS]

    def usual_gap_s(self) -> int | None:
        """The upper bound of the class in which the median gap lies; None without any."""
        gaps = self.gaps
        half, seen = sum(gaps) / 2, 0
        if not half:
            return None
        for number, count in enumerate(gaps):
            seen += count
            if seen >= half:
                return int(4**number)
        raise AssertionError("the classes sum to more than their half")

    def gap_evenness(self) -> float | None:
        """0: all pauses of one class, as a clock makes them; 1: of all classes alike."""
        return evenness(self.gaps) if any(self.gaps) else None

    # ── variety ──────────────────────────────────────────────────────────────────────────────

    def distinct(self, sketch: int) -> int:
        """Different values in this period of 12 hours and the last; full ones say 111 (networks,
        users) and 44 (parameters, clients, workspaces)."""
        bits = (self._w[sketch] | self._w[sketch + 1]).bit_count()
        return (_DISTINCT if sketch < at.MODELS else _DISTINCT_NARROW)[bits]

    @property
    def newest_model(self) -> int:
        """A number that stands for the model first used last; 0: none yet."""
        return self._w[at.NEWEST_MODEL]

    def model_switch_s(self) -> int | None:
        """Seconds since a model was used for the first time, not counting the very first."""
        return self._since(at.NEW_MODEL_S)

    # ── kind ─────────────────────────────────────────────────────────────────────────────────

    def share(self, kind: int) -> float | None:
        """Of the requests of late, a day or so, how many were of the kind; None without any."""
        seen = self._w[at.SEEN]
        return self._w[kind] / seen if seen else None

    @property
    def tasks(self) -> Sequence[int]:
        """How often each task was recognised, relative to each other."""
        return self._w[at.TASKS : at.USUAL_HOURS]

    @property
    def last_country(self) -> str | None:
        return country_of(self._w[at.COUNTRY])

    def last_country_s(self) -> int | None:
        """Seconds since the last served request of which the country was known."""
        instant_s = self._w[at.COUNTRY_S]
        return self.now_s - instant_s if instant_s else None

    # ── its own past ─────────────────────────────────────────────────────────────────────────

    @property
    def idle_s(self) -> int:
        return self.now_s - self._last_s

    @property
    def known_days(self) -> int:
        """Days since the window was opened; it is kept for eight idle days."""
        return self.now_s // at.DAY_S - self._w[at.FIRST_DAY]

    def usual_requests(self) -> float | None:
        """A day, as it was before today; None on the first day."""
        usual = self._w[at.USUAL_DAY]
        return usual / at.USUAL_SCALE if usual else None

    def volume_change(self) -> float | None:
        """Requests of 24 hours over what is usual; None on the first day."""
        usual = self.usual_requests()
        return None if usual is None else self.requests(DAY_INDEX) / usual

    def hours_change(self) -> float | None:
        """Active hours of 24 less those of a usual active day; None on the first day."""
        usual = self._w[at.USUAL_HOURS]
        return self.active_hours - usual / at.HOURS_SCALE if usual else None

    def _since(self, place: int) -> int | None:
        instant_s = self._w[place]
        return self.now_s - instant_s if instant_s else None


class _Glanced(Behaviour):
    """The same within the hour of the last request, where nothing has to be rolled: what region
    rules ask for is at hand, and the whole is unpacked when something else is asked for."""

    __slots__ = ("_country", "_country_s", "_kinds", "_packed")

    def __init__(self, packed: bytes, now_s: int) -> None:
        last_s, self._country_s, self._country, *self._kinds = _GLANCE(packed)
        self._packed = packed
        self._last_s = last_s
        self.now_s = now_s if now_s > last_s else last_s

    def __getattr__(self, name: str) -> tuple[int, ...]:
        if name != "_w":
            raise AttributeError(name)
        whole = self._w = at.LAYOUT.unpack(self._packed)
        return whole

    def share(self, kind: int) -> float | None:
        seen = self._kinds[0]
        return self._kinds[kind - at.SEEN] / seen if seen else None

    @property
    def last_country(self) -> str | None:
        return country_of(self._country)

    def last_country_s(self) -> int | None:
        instant_s = self._country_s
        return self.now_s - instant_s if instant_s else None


@lru_cache(maxsize=MAX_READ)
def read_window(packed: bytes | None, now_s: int) -> Behaviour | None:
    """None where nothing is kept. Kept for the few signals of one request that ask for the same."""
    if packed is None or len(packed) != at.WINDOW_BYTES:  # as `window.opened`, a call less
        return None
    (last_s,) = _LAST(packed)
    if now_s - last_s >= at.KEPT_S:
        return None
    if now_s // at.HOUR_S <= last_s // at.HOUR_S:
        return _Glanced(packed, now_s)
    return Behaviour(at.LAYOUT.unpack(packed), now_s)


def evenness(counts: Sequence[int]) -> float:
    """Entropy over the most there could be, 0..1; counts are bytes of a window."""
    total = sum(counts)
    if total == 0:
        return 0.0
    entropy = log(total) - sum(map(_N_LOG_N.__getitem__, counts)) / total
    return min(1.0, max(0.0, entropy / log(len(counts))))
