"""From a tally to findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import intervals
from .containment import Curve, contained, curve, share
from .findings import (
    Bounds,
    CampaignFound,
    ClassFound,
    ClustersFound,
    Course,
    Precision,
    RuleFound,
    RunFound,
    Share,
)
from .intervals import Interval
from .labels import STRANGERS, Group
from .scores import Agreement, ClusterLine, ClusterScores, score
from .tally import OFFERED, SERVED, Ints, Tally
from .targets import RUNGS, judge_targets

DAY_S = 86_400
EXACT = "Clopper-Pearson, by account"
RATIO = "ratio estimator, by account"
UNNAMED_RULE = "(no rule named)"


@dataclass(frozen=True, slots=True)
class Run:
    """A flushed tally with what else is known of its run."""

    name: str
    tally: Tally
    policy: str = "?"
    revision: str = "?"
    rung: str = "regimes"
    bad_lines: int = 0
    clusters: list[ClusterLine] = field(default_factory=list)
    framed: frozenset[str] = frozenset()  # account ids
    machine: dict[str, Any] = field(default_factory=dict)
    latency: dict[str, Any] | None = None


def measure(run: Run, labels: Mapping[str, Group]) -> RunFound:
    """Everything that the report says about `run`."""
    tally = run.tally
    curves = {group.name: curve(tally, code) for code, group in _campaigns(tally)}
    clusters = _score(run, labels, curves)
    campaigns = [
        _campaign(tally, code, group, found, clusters)
        for code, group in _campaigns(tally)
        if (found := curves[group.name]) is not None
    ]
    classes = [
        _innocents(tally, group.name, tally.account_groups == code)
        for code, group in enumerate(tally.groups)
        if not group.is_campaign and (tally.offered[tally.account_groups == code] > 0).any()
    ]
    innocents = _innocents(tally, "all innocents", _is_innocent(tally))
    rung, framed = RUNGS[run.rung], _framed(tally, run.framed)
    return RunFound(
        name=run.name,
        policy=run.policy,
        revision=run.revision,
        rung=run.rung,
        exchanges=tally.exchanges,
        bad_lines=run.bad_lines,
        span_s=_span_s(tally),
        campaigns=sorted(campaigns, key=lambda one: (-one.served.whole, one.name)),
        classes=sorted(classes, key=lambda one: (-(one.touched.share or 0), one.name)),
        innocents=innocents,
        framed=framed,
        mixed=_mixed(tally),
        accounts=_refused_accounts(tally),
        rules=_rules(tally),
        clusters=None if clusters is None else _clusters(clusters),
        targets=judge_targets(rung, campaigns, innocents, framed),
        machine=run.machine,
        latency=run.latency,
    )


def _span_s(tally: Tally) -> int:
    return (max(tally.by_bin) - min(tally.by_bin) + 1) * tally.bin_s if tally.by_bin else 0


def _campaigns(tally: Tally) -> list[tuple[int, Group]]:
    return [(code, group) for code, group in enumerate(tally.groups) if group.is_campaign]


def _is_campaign(tally: Tally) -> NDArray[np.bool_]:
    campaign = np.array([group.is_campaign for group in tally.groups])
    rows: NDArray[np.bool_] = campaign[tally.account_groups]
    return rows


def _is_innocent(tally: Tally) -> NDArray[np.bool_]:
    innocent = np.array([not (group.is_campaign or group.limit_due) for group in tally.groups])
    rows: NDArray[np.bool_] = innocent[tally.account_groups]
    return rows


def _campaign(
    tally: Tally, code: int, group: Group, found: Curve, clusters: ClusterScores | None
) -> CampaignFound:
    rows = tally.account_groups == code
    seen = rows & (tally.offered > 0)
    days = max(1.0, len(found.offered) * found.bin_s / DAY_S)
    when = contained(found)
    return CampaignFound(
        name=group.name,
        accounts=int(rows.sum()),
        accounts_seen=int(seen.sum()),
        accounts_refused=int((tally.worst[rows] > 0).sum()),
        busiest_account_per_day=round(float(tally.offered[rows].max(initial=0)) / days, 1),
        served=_served(found.served, found.offered, tally, rows),
        would_serve=_served(found.would_serve, found.offered, tally, None),
        contained_after_h=when.after_h,
        is_containment_measurable=when.is_measurable,
        found_after_h=None if clusters is None else clusters.found_after_h.get(group.name),
        course=Course(
            found.bin_s, found.offered.tolist(), found.served.tolist(), found.would_serve.tolist()
        ),
    )


def _served(served: Ints, offered: Ints, tally: Tally, rows: NDArray[np.bool_] | None) -> Share:
    part, whole = int(served.sum()), int(offered.sum())
    bounds = None
    # By account only where its exchanges are all the campaign's.
    if rows is not None and int(tally.offered[rows].sum()) == whole:
        passed = tally.offered[rows] - tally.refused[rows]
        bounds = _bounds(intervals.by_account(passed, tally.offered[rows]), RATIO)
    return Share(part, whole, share(part, whole), bounds)


def _innocents(tally: Tally, name: str, rows: NDArray[np.bool_]) -> ClassFound:
    seen = rows & (tally.offered > 0)
    offered, refused = tally.offered[seen], tally.refused[seen]
    part, whole = int(refused.sum()), int(offered.sum())
    return ClassFound(
        name=name,
        accounts=int(seen.sum()),
        touched=_accounts(tally.worst[seen]),
        would_touch=_accounts(tally.worst_would_be[seen]),
        refused=Share(
            part,
            whole,
            share(part, whole),
            _bounds(intervals.by_account(refused, offered), RATIO),
        ),
    )


def _accounts(worst: NDArray[np.int8]) -> Share:
    hit, count = int((worst > 0).sum()), len(worst)
    return Share(
        hit, count, share(hit, count), _bounds(intervals.clopper_pearson(hit, count), EXACT)
    )


def _bounds(interval: Interval | None, method: str) -> Bounds | None:
    return None if interval is None else Bounds(interval.low, interval.high, method)


def _framed(tally: Tally, framed: frozenset[str]) -> Share:
    seen = [code for a in sorted(framed) if tally.offered[code := tally.index[a]] > 0]
    return _accounts(tally.worst[seen])


def _mixed(tally: Tally) -> Share:
    code = tally.group_code(STRANGERS)
    counts = sum((row[code] for row in tally.by_bin.values()), np.zeros(3, np.int64))
    whole, refused = int(counts[OFFERED]), int(counts[OFFERED] - counts[SERVED])
    return Share(refused, whole, share(refused, whole))


def _refused_accounts(tally: Tally) -> Precision:
    """Accounts ever refused, as a detector of campaign accounts; those due a limit are neither."""
    innocent, campaign = _is_innocent(tally), _is_campaign(tally)
    touched = tally.worst > 0
    right, wrong = int((touched & campaign).sum()), int((touched & innocent).sum())
    theirs = int(((tally.offered > 0) & campaign).sum())
    return _precision(Agreement(share(right, right + wrong), share(right, theirs)))


def _rules(tally: Tally) -> list[RuleFound]:
    is_campaign = np.array([group.is_campaign for group in tally.groups])
    found = [
        RuleFound(
            rule or UNNAMED_RULE,
            campaign=int(tally.by_reason[code][is_campaign].sum()),
            innocent=int(tally.by_reason[code][~is_campaign].sum()),
        )
        for rule, code in tally.reasons.items()
    ]
    refusing = [rule for rule in found if rule.campaign or rule.innocent]
    return sorted(refusing, key=lambda rule: (-rule.campaign - rule.innocent, rule.rule))


def _score(
    run: Run, labels: Mapping[str, Group], curves: Mapping[str, Curve | None]
) -> ClusterScores | None:
    if not run.clusters:
        return None
    firsts = {name: found.start_s for name, found in curves.items() if found is not None}
    offered, index = run.tally.offered, run.tally.index
    # Standby accounts that never sent anything are nobody's to find.
    at_work = {one: group for one, group in labels.items() if offered[index[one]] > 0}
    return score(run.clusters, at_work, firsts)


def _clusters(scores: ClusterScores) -> ClustersFound:
    return ClustersFound(
        by_state=scores.clusters,
        accounts_scored=scores.accounts_scored,
        b_cubed=_precision(scores.b_cubed),
        pairs=_precision(scores.pairs),
        accounts=_precision(scores.accounts),
    )


def _precision(agreement: Agreement) -> Precision:
    return Precision(agreement.precision, agreement.recall, agreement.f1)
