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

Honest causes. *Jobs* have one order too (`clocks`). But mostly their delays are their own, while
those of a relay are everybody's: so the gaps of two accounts must move together, by medians, so
that a common outage or a common night does not pass for it (`MOST_APART`). A relay that sends by a
clock of its own is therefore missed. *One customer's keys in turn*: one fact covers most of them,
and the group is explained (`is_explained`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, lgamma, log
from statistics import median

from .clocks import Gaps, adds_up, begins_anew, is_by_the_clock, is_on_a_beat

LOOKS = (1, 3)  # requests after an account's own that are looked at
FARTHEST = max(LOOKS)
LEAST_OTHERS = 8  # requests of others in a turn
LEAST_TURNS = 2
LEAST_FOLLOWED = 0.6  # of an account's turns
LEAST_GROUP = 12
ALMOST_ALL = 0.85  # of those who have turns: nobody else shows the value
PAIR_NATS = 7.0
PAIR_NATS_AMONG_ALL = 3.5
LEAST_OF_MEDIAN = 0.6  # of what its pairs come to; a stranger who fits in by chance is below
SCREENED = 32  # accounts that are looked at first
LEAST_SCREENED = 2  # of them must be followed by somebody
SCREEN_NATS = 3.0
MOST_APART = 0.5
LEAST_GAPS = 8  # of two accounts, from which they are judged by themselves
MOST_APART_ALONE = 0.7
SQRT_HALF = 0.5**0.5

Instants = Mapping[str, Sequence[int]]
"""Account → when it sent, in microseconds, ascending."""
Taken = Sequence[tuple[int, int]]
"""When an account sent and when who followed it did, turn after turn."""


@dataclass(frozen=True, slots=True)
class Pair:
    """`follower` comes among the `look` requests after one of `account`; both by number. `nats`:
    how surprising."""

    account: int
    follower: int
    nats: float
    look: int


class _Sequence:
    """All instants of the holders of one value in one order; accounts by number, as their names
    sort. `turns` has of each account the places of its requests that begin a turn that counts."""

    def __init__(self, instants: Instants) -> None:
        self.names = sorted(name for name, own in instants.items() if own)
        count = len(self.names)
        # An instant and an account in one integer sort as a tuple of both does, and faster.
        sent = [at * count + n for n, name in enumerate(self.names) for at in instants[name]]
        sent.sort()
        self.at_us = [one // count for one in sent]
        self.who = [one % count for one in sent]
        self.places: list[list[int]] = [[] for _ in self.names]
        for place, account in enumerate(self.who):
            self.places[account].append(place)
        self.turns = [
            [at for at, following in pairwise(own) if following - at > LEAST_OTHERS]
            for own in self.places
        ]

    def taken(self, pair: Pair) -> list[tuple[int, int]]:
        """When both sent, of each turn that went on with the follower."""
        at_us, own = self.at_us, self.places[pair.follower]
        firsts = (
            (at, own[place])
            for at in self.turns[pair.account]
            if (place := bisect_right(own, at)) < len(own)
        )
        return [(at_us[at], at_us[one]) for at, one in firsts if one - at <= pair.look]

    def sent(self, account: int) -> list[int]:
        """When the account sent, ascending."""
        return [self.at_us[place] for place in self.places[account]]

    def gaps(self, account: int) -> list[int]:
        """Between the account's requests."""
        return [b - a for a, b in pairwise(self.sent(account))]


def groups_of(instants: Instants) -> list[list[str]]:
    """Accounts that take turns with each other, sorted; the work grows with all instants, by
    n log n. Independent of the order of the mapping."""
    sequence = _Sequence(instants)
    pairs, turning = _pairs(sequence)
    whole = _grouped(sequence, pairs, max(LEAST_GROUP, ALMOST_ALL * turning))
    found = [_without_outliers(group, pairs) for group in whole]
    if not found:
        strict = [pair for pair in pairs if pair.nats >= PAIR_NATS]
        found = _grouped(sequence, strict, LEAST_GROUP)
    return [
        [sequence.names[account] for account in sorted(group)]
        for group in found
        if len(group) >= LEAST_GROUP
    ]


def _pairs(sequence: _Sequence) -> tuple[list[Pair], int]:
    """All that are followed, and how many accounts have turns enough to tell. Where of a sample
    spread evenly hardly any are, nobody else is looked at."""
    turning = [n for n, own in enumerate(sequence.turns) if len(own) >= LEAST_TURNS]
    sample = turning[:: max(1, len(turning) // SCREENED)]
    pairs = [pair for account in sample for pair in _followed(sequence, account)]
    if len({pair.account for pair in pairs if pair.nats >= SCREEN_NATS}) < LEAST_SCREENED:
        return [], len(turning)
    screened = set(sample)
    rest = (account for account in turning if account not in screened)
    pairs += [pair for account in rest for pair in _followed(sequence, account)]
    return pairs, len(turning)


def _followed(sequence: _Sequence, account: int) -> list[Pair]:
    """Whoever comes among the next requests in most of the account's turns."""
    turns = sequence.turns[account]
    least = max(LEAST_TURNS, ceil(LEAST_FOLLOWED * len(turns)))
    often = _often(sequence.who, turns, least)
    found = []
    for look in LOOKS if often else ():
        following = [sequence.who[at + 1 : at + 1 + look] for at in turns]
        for other in often:
            count = [other in some for some in following].count(True)
            if count >= least:
                nats = _surprise(sequence, account, other, look, count)
                if nats >= PAIR_NATS_AMONG_ALL:
                    found.append(Pair(account, other, nats, look))
    return found


def _often(who: list[int], turns: list[int], least: int) -> list[int]:
    """At least all accounts that come after `least` of these places, ascending. Sorted, such an
    account is a run of `least`: mostly there is none, and nobody has to be counted."""
    following: list[int] = []
    for at in turns:
        following += who[at + 1 : at + 1 + FARTHEST]
    following.sort()
    runs = zip(following, following[least - 1 :], strict=False)
    return sorted({first for first, last in runs if first == last})


def _surprise(sequence: _Sequence, account: int, other: int, look: int, count: int) -> float:
    """In nats, that `other` comes in `count` turns of the account."""
    turns, own, others = sequence.turns[account], sequence.places[account], sequence.places[other]
    first, last = own[0], own[-1]
    share = (bisect_right(others, last) - bisect_left(others, first)) / (last - first)
    nats = _tail(count, min(1.0, look * share) * len(turns))
    return nats - (log(len(sequence.names)) + log(len(LOOKS)))


def _tail(count: int, expected: float) -> float:
    """-ln of a Poisson variable's chance to be `count`, which dominates its upper tail; 0 up to
    what is expected."""
    if count <= expected:
        return 0.0
    return expected - count * log(expected) + lgamma(count + 1)


def _grouped(sequence: _Sequence, pairs: Sequence[Pair], least: float) -> list[set[int]]:
    """Connected by pairs, `least` of them or more, where their gaps move together."""
    found = []
    for group in _connected(_near(pairs)):
        if len(group) < least:
            continue
        moving = [p for p in pairs if p.account in group and _moves_along(sequence, p)]
        for part in _connected(_near(moving)):
            own = [pair for pair in moving if pair.account in part]
            if len(part) >= least and _are_relayed(sequence, own):
                found.append(part)
    return found


def _near(pairs: Iterable[Pair]) -> dict[int, set[int]]:
    near: dict[int, set[int]] = defaultdict(set)
    for pair in pairs:
        near[pair.account].add(pair.follower)
        near[pair.follower].add(pair.account)
    return near


def _moves_along(sequence: _Sequence, pair: Pair) -> bool:
    """Whether these two move together, as far as that can be told of them alone: jobs of some
    customers join those of others where the medians of all are those of one product's."""
    gaps = _gaps(sequence.taken(pair))
    return len(gaps) < LEAST_GAPS or _moves_together([gaps], MOST_APART_ALONE)


def _connected(near: Mapping[int, set[int]]) -> Iterator[set[int]]:
    left = set(near)
    for start in sorted(near):
        if start in left:
            group, waiting = set[int](), [start]
            while waiting:
                account = waiting.pop()
                if account not in group:
                    group.add(account)
                    waiting += near[account] - group
            left -= group
            yield group


def _are_relayed(sequence: _Sequence, pairs: Sequence[Pair]) -> bool:
    """Whether the gaps of these pairs move together, and no jobs are the reason (`clocks`)."""
    best: dict[int, Pair] = {}
    for pair in pairs:
        if pair.account not in best or pair.nats > best[pair.account].nats:
            best[pair.account] = pair
    taken = [sequence.taken(pair) for pair in best.values()]
    gaps = [_gaps(at_us) for at_us in taken]
    if not _moves_together(gaps) or is_on_a_beat(gaps):
        return False
    if begins_anew([sequence.sent(account) for account in best]):
        return False
    lags = [[after - at for at, after in at_us] for at_us in taken]
    if not adds_up(lags, [sequence.gaps(account) for account in best]):
        return False
    latest = {pair.account: pair for pair in pairs}
    sent = [[at for at, _ in sequence.taken(pair)] for pair in latest.values()]
    return not is_by_the_clock(sent)


def _without_outliers(group: set[int], pairs: Sequence[Pair]) -> set[int]:
    """All whose best pair is about as surprising as the others'."""
    best: dict[int, float] = {}
    for pair in pairs:
        for account in (pair.account, pair.follower):
            best[account] = max(pair.nats, best.get(account, 0.0))
    least = LEAST_OF_MEDIAN * median(best[account] for account in group)
    return {account for account in group if best[account] >= least}


def _gaps(taken: Taken) -> list[tuple[int, int]]:
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(taken)]


def _moves_together(gaps_of_pairs: Sequence[Gaps], most: float = MOST_APART) -> bool:
    """Whether gaps differ less between an account and who follows it best than each does from its
    own usual gap, and than from one turn to the next (of independent clocks: 0.9, 0.8)."""
    apart, unusual, changes = list[float](), list[float](), list[float]()
    for gaps in gaps_of_pairs:
        usual = median(own for own, _ in gaps)
        apart += [abs(own - others) for own, others in gaps]
        unusual += [abs(own - usual) for own, _ in gaps]
        changes += [abs(b[0] - a[0]) * SQRT_HALF for a, b in pairwise(gaps)]
    if not changes:
        return False
    return median(apart) < most * min(median(unusual), median(changes))
