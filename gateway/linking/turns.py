"""Accounts that take turns: a relay that sends each request through the next of its accounts.

Whatever such a relay changes (exits, clients, wording, payment), its accounts go on in one order:
between two requests of an account all the others have one each, and the same one comes next.
Nobody can copy that from outside, since it takes to know when the others send. Software that
spreads load by turns, or by who rested longest, does it by default; one that draws lots does not.

Of the holders of one value the instants are put into one sequence. A *turn* of an account lasts
from one of its requests to the next; it counts where at least `LEAST_OTHERS` requests of others lie
inside. An account is *followed* by another when that one comes among the next `LOOKS` requests in
more of its turns than its share of all requests would bring about: Poisson's tail, in nats, less
the logarithm of how many could have been found.

Honest causes. *Clocks*: jobs at fixed minutes have one order too. But their delays are their own,
while those of a relay are everybody's: so the gaps of two accounts must move together, by medians,
so that a common outage or a common night does not pass for it (`MOST_APART`). A relay that sends by
a clock of its own is therefore missed. *One customer's keys in turn*: one fact covers most of them,
and the group is explained (`is_explained`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, hypot, lgamma, log, sin, tau
from statistics import median

from ..model import SECOND_US

LOOKS = (1, 3)  # requests after an account's own that are looked at
LEAST_OTHERS = 8  # requests of others in a turn
LEAST_TURNS = 2
LEAST_FOLLOWED = 0.6  # of an account's turns
LEAST_GROUP = 12
ALMOST_ALL = 0.85  # of those who have turns: nobody else shows the value
PAIR_NATS = 7.0
PAIR_NATS_AMONG_ALL = 2.0
LEAST_OF_MEDIAN = 0.6  # of what its pairs come to; a stranger who fits in by chance is below
SCREENED = 32  # accounts that are looked at first
LEAST_SCREENED = 2  # of them must be followed by somebody
SCREEN_NATS = 3.0
MOST_APART = 0.5
SQRT_HALF = 0.5**0.5
CLOCKS_S = (300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 14_400, 21_600, 28_800, 43_200, 86_400)
AT_ONE_MINUTE = 0.95  # mean resultant length: a standard deviation of 18 degrees of the dial
MOST_ON_DIAL = 1.25  # a dial this much longer than the usual gap says nothing

Instants = Mapping[str, Sequence[int]]
"""Account → when it sent, in microseconds, ascending."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`follower` came next after `account` in these instants of both. `nats`: how surprising."""

    account: str
    follower: str
    nats: float
    at_us: tuple[tuple[int, int], ...]


def groups_of(instants: Instants) -> list[list[str]]:
    """Accounts that take turns with each other, sorted; the work grows with all instants, by
    n log n. Independent of the order of the mapping."""
    pairs, turning = _pairs(instants)
    whole = [group for group in _grouped(pairs) if len(group) >= ALMOST_ALL * turning]
    loose = [_without_outliers(group, pairs) for group in whole]
    strict = _grouped([pair for pair in pairs if pair.nats >= PAIR_NATS])
    found = loose or strict
    return [sorted(group) for group in found if len(group) >= LEAST_GROUP]


def _pairs(instants: Instants) -> tuple[list[Pair], int]:
    """All that are followed, and how many accounts have turns enough to tell. Where of a sample
    spread evenly hardly any are, nobody else is looked at."""
    events = sorted((at, name) for name, own in instants.items() for at in own)
    places: dict[str, list[int]] = defaultdict(list)
    for place, (_, name) in enumerate(events):
        places[name].append(place)
    turns = {
        name: [at for at, following in pairwise(own) if following - at > LEAST_OTHERS]
        for name, own in sorted(places.items())
    }
    names = [name for name, own in turns.items() if len(own) >= LEAST_TURNS]
    sample = set(names[:: max(1, len(names) // SCREENED)])
    pairs = [pair for name in sorted(sample) for pair in _followed(name, turns, events, places)]
    if len({pair.account for pair in pairs if pair.nats >= SCREEN_NATS}) < LEAST_SCREENED:
        return [], len(names)
    rest = (name for name in names if name not in sample)
    pairs += [pair for name in rest for pair in _followed(name, turns, events, places)]
    return pairs, len(names)


def _followed(
    name: str,
    turns: Mapping[str, list[int]],
    events: list[tuple[int, str]],
    places: Mapping[str, list[int]],
) -> list[Pair]:
    own = places[name]
    found: list[Pair] = []
    for look in LOOKS:
        found += _followers(name, turns[name], look, (own[0], own[-1]), events, places)
    return found


def _followers(
    name: str,
    turns: list[int],
    look: int,
    span: tuple[int, int],
    events: list[tuple[int, str]],
    places: Mapping[str, list[int]],
) -> list[Pair]:
    """Whoever comes among the next `look` events in most of the turns."""
    counts = Counter(
        other for at in turns for other in {events[at + n][1] for n in range(1, look + 1)}
    )
    least = max(LEAST_TURNS, LEAST_FOLLOWED * len(turns))
    found = []
    for other, count in counts.items():
        if count < least:
            continue
        own = places[other]
        share = (bisect_right(own, span[1]) - bisect_left(own, span[0])) / (span[1] - span[0])
        nats = _tail(count, min(1.0, look * share) * len(turns))
        nats -= log(len(places)) + log(len(LOOKS))
        if nats >= PAIR_NATS_AMONG_ALL:
            found.append(Pair(name, other, nats, _matched(turns, own, look, events)))
    return found


def _matched(
    turns: list[int], own: list[int], look: int, events: list[tuple[int, str]]
) -> tuple[tuple[int, int], ...]:
    """The instants of each turn's own event and the follower's first after it."""
    firsts = ((at, own[place]) for at in turns if (place := bisect_right(own, at)) < len(own))
    return tuple((events[at][0], events[one][0]) for at, one in firsts if one - at <= look)


def _tail(count: int, expected: float) -> float:
    """-ln of a Poisson variable's chance to be `count`, which dominates its upper tail; 0 up to
    what is expected."""
    if count <= expected:
        return 0.0
    return expected - count * log(expected) + lgamma(count + 1)


def _grouped(pairs: Sequence[Pair]) -> list[set[str]]:
    """Connected by pairs, where their gaps move together."""
    near: dict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        near[pair.account].add(pair.follower)
        near[pair.follower].add(pair.account)
    found: list[set[str]] = []
    left = set(near)
    while left:
        group, waiting = set[str](), [min(left)]
        while waiting:
            name = waiting.pop()
            if name not in group:
                group.add(name)
                waiting += near[name] - group
        left -= group
        of_group = [pair for pair in pairs if pair.account in group]
        if _moves_together(of_group) and not _is_by_the_clock(of_group):
            found.append(group)
    return found


def _without_outliers(group: set[str], pairs: Sequence[Pair]) -> set[str]:
    """All whose best pair is about as surprising as the others'."""
    best: dict[str, float] = {}
    for pair in pairs:
        for name in (pair.account, pair.follower):
            best[name] = max(pair.nats, best.get(name, 0.0))
    least = LEAST_OF_MEDIAN * median(best[name] for name in group)
    return {name for name in group if best[name] >= least}


def _moves_together(pairs: Sequence[Pair]) -> bool:
    """Whether gaps differ less between an account and who follows it best than each does from its
    own usual gap, and than from one turn to the next (of independent clocks: 0.9, 0.8)."""
    best: dict[str, Pair] = {}
    for pair in pairs:
        if pair.account not in best or pair.nats > best[pair.account].nats:
            best[pair.account] = pair
    apart, unusual, changes = list[float](), list[float](), list[float]()
    for pair in best.values():
        gaps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(pair.at_us)]
        usual = median(own for own, _ in gaps)
        apart += [abs(own - others) for own, others in gaps]
        unusual += [abs(own - usual) for own, _ in gaps]
        changes += [abs(b[0] - a[0]) * SQRT_HALF for a, b in pairwise(gaps)]
    if not changes:
        return False
    return median(apart) < MOST_APART * min(median(unusual), median(changes))


def _is_by_the_clock(pairs: Sequence[Pair]) -> bool:
    """Whether half of the accounts send at fixed minutes of some dial."""
    own = {pair.account: [at for at, _ in pair.at_us] for pair in pairs}
    return 2 * sum(map(_keeps_minutes, own.values())) >= len(own)


def _keeps_minutes(at_us: Sequence[int]) -> bool:
    usual_us = median(b - a for a, b in pairwise(at_us))
    return any(
        _resultant(at_us, dial_s * SECOND_US) >= AT_ONE_MINUTE
        for dial_s in CLOCKS_S
        if dial_s * SECOND_US <= MOST_ON_DIAL * usual_us
    )


def _resultant(at_us: Sequence[int], dial_us: int) -> float:
    """1 where all instants lie at one point of the dial, about 0 where they are spread over it."""
    angles = [tau * (at % dial_us) / dial_us for at in at_us]
    return hypot(sum(map(cos, angles)), sum(map(sin, angles))) / len(angles)
