"""Counts what became of every exchange: by group and hour, by account, and by rule.

Memory goes with accounts and with groups × bins of time, never with exchanges: what is added waits
in a bounded batch and is then counted by columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from .labels import STRANGERS, UNLABELLED, Group

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BATCH = 65_536
HOUR_S = 3600
MAX_BINS = 24 * 366 * 2
MAX_REASONS = 10_000
VERDICTS = ("allow", "throttle", "verify", "deny")
VERDICT_CODES = {verdict: code for code, verdict in enumerate(VERDICTS)}
OTHER_REASON = "(other)"
# Columns of `Tally.by_bin`.
OFFERED, SERVED, WOULD_SERVE = range(3)


@dataclass(slots=True)
class _Batch:
    bins: list[int] = field(default_factory=list)
    accounts: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    verdicts: list[int] = field(default_factory=list)
    would_be: list[int] = field(default_factory=list)
    served: list[bool] = field(default_factory=list)
    reasons: list[int] = field(default_factory=list)


class Tally:
    """What one run did. `labels` gives each account's group; others count as unlabelled.

    Time is counted in bins of `bin_s` seconds: an hour, or less for a run that is shorter than a
    day. Containment is told from bins of an hour alone.

    Fed by `add`, or by columns through `add_columns`; read after `flush`.
    """

    def __init__(self, labels: Mapping[str, Group], *, bin_s: int = HOUR_S) -> None:
        self.bin_s = bin_s
        self.groups: list[Group] = [UNLABELLED, STRANGERS, *dict.fromkeys(labels.values())]
        self.index: dict[str, int] = {}
        self.exchanges = 0
        self.by_bin: dict[int, Ints] = {}  # bin → groups × (offered, served, would serve)
        self.reasons: dict[str | None, int] = {}
        self.by_reason: Ints = np.zeros((64, len(self.groups)), np.int64)  # refused exchanges
        self.offered: Ints = np.zeros(0, np.int64)  # the next five by account
        self.refused: Ints = np.zeros(0, np.int64)
        self.worst: NDArray[np.int8] = np.zeros(0, np.int8)
        self.worst_would_be: NDArray[np.int8] = np.zeros(0, np.int8)
        self.account_groups: Ints = np.zeros(0, np.int64)
        self._labels = labels
        self._group_codes = {group: code for code, group in enumerate(self.groups)}
        self._batch = _Batch()
        for account_id in labels:
            self._account(account_id)

    def add(
        self,
        *,
        ts: float,
        account_id: str,
        verdict: str,
        would_be: str,
        served: bool,
        reason: str | None,
        group: Group | None = None,
    ) -> None:
        """Count one exchange at `ts` (Unix seconds); `group` where it is not its account's.

        Raises UsageError for a verdict that is none.
        """
        try:
            codes = VERDICT_CODES[verdict], VERDICT_CODES[would_be]
        except KeyError as error:
            raise UsageError(f"no such verdict: {error}") from None
        batch, account = self._batch, self._account(account_id)
        batch.verdicts.append(codes[0])
        batch.would_be.append(codes[1])
        batch.bins.append(int(ts // self.bin_s))
        batch.accounts.append(account)
        batch.groups.append(-1 if group is None else self.group_code(group))
        batch.served.append(served)
        batch.reasons.append(self.reason_code(reason))
        if len(batch.bins) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Count what waits in the batch."""
        batch, self._batch = self._batch, _Batch()
        if batch.bins:
            accounts = np.array(batch.accounts)
            groups = np.array(batch.groups)
            self.add_columns(
                bins=np.array(batch.bins),
                accounts=accounts,
                groups=np.where(groups < 0, self._groups_of(accounts), groups),
                verdicts=np.array(batch.verdicts, np.int8),
                would_be=np.array(batch.would_be, np.int8),
                served=np.array(batch.served, bool),
                reasons=np.array(batch.reasons),
            )

    def add_columns(
        self,
        *,
        bins: Ints,
        accounts: Ints,
        groups: Ints,
        verdicts: NDArray[np.int8],
        would_be: NDArray[np.int8],
        served: NDArray[np.bool_],
        reasons: Ints,
    ) -> None:
        """Count many exchanges; accounts, groups and reasons by their codes."""
        self._grow()
        self.exchanges += len(bins)
        self._count_bins(bins, groups, served, would_be)
        size = len(self.offered)
        self.offered += np.bincount(accounts, minlength=size)
        self.refused += np.bincount(accounts[~served], minlength=size)
        np.maximum.at(self.worst, accounts, verdicts)
        np.maximum.at(self.worst_would_be, accounts, would_be)
        np.add.at(self.by_reason, (reasons[~served], groups[~served]), 1)

    def codes_of(self, account_ids: Sequence[str]) -> Ints:
        """The codes of accounts, new ones included."""
        try:
            # By far the usual case: all are known.
            return np.fromiter(map(self.index.__getitem__, account_ids), np.int64, len(account_ids))
        except KeyError:
            return np.array([self._account(account_id) for account_id in account_ids], np.int64)

    def groups_of(self, accounts: Ints) -> Ints:
        """The groups of accounts, all by their codes."""
        return self._groups_of(accounts)

    def group_code(self, group: Group) -> int:
        """Raises UsageError for a campaign that no account is labelled with."""
        code = self._group_codes.get(group)
        if code is None:
            raise UsageError(f"{group.name!r} labels a line and no account; add it to the labels")
        return code

    def reason_code(self, reason: str | None) -> int:
        """The code of a rule's name; past a bound all are one."""
        code = self.reasons.get(reason)
        if code is None:
            if len(self.reasons) >= MAX_REASONS:
                return self.reason_code(OTHER_REASON) if reason != OTHER_REASON else 0
            code = self.reasons[reason] = len(self.reasons)
        return code

    def _account(self, account_id: str) -> int:
        code = self.index.get(account_id)
        if code is None:
            code = self.index[account_id] = len(self.index)
        return code

    def _groups_of(self, accounts: Ints) -> Ints:
        self._grow()
        found: Ints = self.account_groups[accounts]
        return found

    def _count_bins(
        self, bins: Ints, groups: Ints, served: NDArray[np.bool_], would_be: NDArray[np.int8]
    ) -> None:
        width = len(self.groups)
        for bin_ in np.unique(bins).tolist():
            rows = bins == bin_
            who = groups[rows]
            counts = self.by_bin.get(bin_)
            if counts is None:
                if len(self.by_bin) >= MAX_BINS:
                    raise UsageError(
                        f"the run spans over {MAX_BINS:,} bins of {self.bin_s} s; check ts"
                    )
                counts = self.by_bin[bin_] = np.zeros((width, 3), np.int64)
            counts[:, OFFERED] += np.bincount(who, minlength=width)
            counts[:, SERVED] += np.bincount(who[served[rows]], minlength=width)
            counts[:, WOULD_SERVE] += np.bincount(who[would_be[rows] == 0], minlength=width)

    def _grow(self) -> None:
        """Room for the accounts and reasons known by now."""
        seen, known = len(self.offered), len(self.index)
        if seen < known:
            # Dictionaries keep the order in which accounts came.
            names = list(self.index)[seen:]
            codes = [self._group_codes[self._labels.get(name, UNLABELLED)] for name in names]
            more = known - seen
            self.account_groups = np.concatenate((self.account_groups, np.array(codes, np.int64)))
            self.offered = np.concatenate((self.offered, np.zeros(more, np.int64)))
            self.refused = np.concatenate((self.refused, np.zeros(more, np.int64)))
            self.worst = np.concatenate((self.worst, np.zeros(more, np.int8)))
            self.worst_would_be = np.concatenate((self.worst_would_be, np.zeros(more, np.int8)))
        while len(self.by_reason) < len(self.reasons) + 1:
            self.by_reason = np.concatenate((self.by_reason, np.zeros_like(self.by_reason)))
