"""Orders that come round again for honest reasons: jobs at fixed minutes, programs in a loop.

Four tests of a group in which each account sends after another, always in the same order.

*The dial.* Jobs at fixed minutes lie at one point of a dial of an hour, a day, or another usual
period.
*The sum.* A product that runs its customers' jobs is late with all of them when its queue is long:
their gaps move together, like a relay's. But what lies between two customers stays as it was. In a
relay a round is late by what its parts, the lags from one account to the next, were late by: their
variances come to that of the gaps. Among customers that are served by the hour one lag takes it
all, that from the last to the first; so those that vary most are left out.
*The pause.* A worker that has gone through its customers waits until the next round is due, and
begins with the first of them. Where requests are spread over a ring, hardly any pause is two fifths
of a round long, and whoever comes after one is whose turn it is.
*The beat.* An agent that waits seven minutes and looks again has gaps of seven minutes or, seen
through slots (`instants.SLOT_US`), of fourteen, and its neighbour's are mostly the same: they would
seem to move together. Where gaps keep a beat, what is left of them must move together as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice, pairwise
from math import cos, hypot, sin, tau
from operator import sub
from statistics import fmean, median, quantiles

from ..model import SECOND_US

CLOCKS_S = (
    *(60 * minutes for minutes in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)),
    *(3600 * hours for hours in (1, 2, 3, 4, 6, 8, 12, 24)),
)
"""Whatever divides an hour or a day, as schedulers write it."""
AT_ONE_MINUTE = 0.95  # mean resultant length: a standard deviation of 18 degrees of the dial
MOST_ON_DIAL = 1.25  # a dial this much longer than the usual gap says nothing
LEAST_ON_DIAL = 0.3  # nor does one so much shorter: there are many, and one of them fits
LEAST_OF_SUM = 0.15  # of the gaps' variance, what the lags' comes to (relays: 0.2 to 2.5)
WHOLE, LEAST_OF_PART = 0.7, 0.5  # where lags are less of a round: those of a worker, in a burst
LEFT_OUT = 3  # accounts whose lags vary most: those of the last customers, until the first
PAUSE = 0.4  # of the usual gap of an account
LEAST_PAUSES = 3
LEAST_ROUNDS_PAUSED = 0.4  # of the rounds, how many begin after a pause
SAME_FIRST = 0.5  # of the pauses, how many end with one account
OF_QUARTILE = 1.32  # the upper quartile of a squared normal deviate
ON_BEAT = 0.08  # of a beat, by median: gaps that are no further off keep it
LEAST_BEATS = 4  # gaps; of fewer everything looks like a beat
MOST_APART_OFF_BEAT = 0.5

Gaps = Sequence[tuple[int, int]]
"""Two accounts' gaps side by side, in microseconds."""


def is_by_the_clock(sent: Sequence[Sequence[int]]) -> bool:
    """Whether half of the accounts send at fixed minutes of some dial. Each has two instants or
    more, ascending."""
    needed = (len(sent) + 1) // 2
    keeping = (own for own in sent if _keeps_minutes(own))
    return sum(1 for _ in islice(keeping, needed)) == needed


def _keeps_minutes(at_us: Sequence[int]) -> bool:
    usual_us = median(b - a for a, b in pairwise(at_us))
    return any(
        _resultant(at_us, dial_s * SECOND_US) >= AT_ONE_MINUTE
        for dial_s in CLOCKS_S
        if LEAST_ON_DIAL * usual_us <= dial_s * SECOND_US <= MOST_ON_DIAL * usual_us
    )


def _resultant(at_us: Sequence[int], dial_us: int) -> float:
    """1 where all instants lie at one point of the dial, about 0 where they are spread over it."""
    angles = [tau * (at % dial_us) / dial_us for at in at_us]
    return hypot(sum(map(cos, angles)), sum(map(sin, angles))) / len(angles)


def adds_up(lags: Sequence[Sequence[int]], gaps: Sequence[Sequence[int]]) -> bool:
    """Whether rounds vary by what their parts vary by; true where that cannot be told.

    A row for each account, in order of time: of `lags`, how long until the next one sent, of
    `gaps`, how long until it sent again. By squares of successive differences, so that a slow
    change of pace is in neither; of gaps, which accounts that move together have alike, by their
    upper quartile, so that turns that somebody missed count for little.
    """
    parts = [row for row in lags if len(row) >= 2]
    squares = [one for row in gaps for one in _squares(row)]
    if len(parts) <= LEFT_OUT or len(squares) < 2:
        return True
    changed = sorted(fmean(_squares(row)) for row in parts)
    length = max(1.0, sum(map(fmean, parts)))
    usual = median(gap for row in gaps for gap in row)
    of_gaps = quantiles(squares)[2] / OF_QUARTILE / usual
    least = LEAST_OF_SUM if length >= WHOLE * usual else LEAST_OF_PART
    return sum(changed[:-LEFT_OUT]) / length >= least * of_gaps


def _squares(row: Sequence[int]) -> list[int]:
    return [(b - a) ** 2 for a, b in pairwise(row)]


def begins_anew(sent: Sequence[Sequence[int]]) -> bool:
    """Whether most rounds come after a pause and begin with the same account. A row of instants
    for each account, ascending, of two or more."""
    gaps = [gap for own in sent for gap in map(sub, own[1:], own)]
    if not gaps:
        return False
    usual_us, rounds = median(gaps), len(gaps) / len(sent)
    order = sorted((at, n) for n, own in enumerate(sent) for at in own)
    firsts = Counter(b[1] for a, b in pairwise(order) if b[0] - a[0] >= PAUSE * usual_us)
    pauses = sum(firsts.values())
    if pauses < max(LEAST_PAUSES, LEAST_ROUNDS_PAUSED * rounds):
        return False
    return max(firsts.values()) >= SAME_FIRST * pauses


def is_on_a_beat(gaps: Sequence[Gaps]) -> bool:
    """Whether most keep a beat and, off it, do not move together."""
    beating = [left for row in gaps if len(row) >= LEAST_BEATS and (left := _off_beat(row))]
    if not beating or 2 * len(beating) < len(gaps):
        return False
    apart = median(abs(own - others) for row in beating for own, others in row)
    return apart >= MOST_APART_OFF_BEAT * median(abs(own) for row in beating for own, _ in row)


def _off_beat(gaps: Gaps) -> list[tuple[float, float]]:
    """What is left of both accounts' gaps when whole beats are taken away; nothing where they keep
    none. The beat is the period of which they are multiples, as nearly as the shortest tells."""
    both = [gap for pair in gaps for gap in pair]
    beat_us = float(min(both))
    for _ in range(2):
        beats = [max(1, round(gap / beat_us)) for gap in both]
        whole = sum(gap * one for gap, one in zip(both, beats, strict=True))
        beat_us = whole / sum(one * one for one in beats)
    left = [(_off(own, beat_us), _off(other, beat_us)) for own, other in gaps]
    is_kept = median(abs(own) for own, _ in left) <= ON_BEAT * beat_us
    return left if is_kept else []


def _off(gap_us: int, beat_us: float) -> float:
    return gap_us - max(1, round(gap_us / beat_us)) * beat_us
