"""`docs/reference/metrics.md`, generated from the table of metrics. To renew it:
`python -m hydragate.commands.reference`."""

from __future__ import annotations

from collections.abc import Mapping

from ..model import TASKS
from ..policy.reference import table
from .metrics import COUNTER, HISTOGRAM, TABLE, Definition

LABELS: Mapping[str, str] = {
    "verdict": "allow, throttle, verify or deny; of a rule or limit, its own opinion",
    "would_be": "the same four: the verdict had nothing been in shadow",
    "reason": "name of the deciding rule or limit, `ok`, or one of the gateway's own reasons "
    "([Policy](policy.md#names-that-are-taken))",
    "surface": "the way in: proxy, middleware, replay, ext_authz or auth_request",
    "task": ", ".join(TASKS),
    "network_class": "eyeball, hosting, vpn, tor, education or unknown",
    "region_set": "name of a set that the policy compares countries with",
    "rule": "name of a rule or limit of the policy",
    "mode": "enforce or shadow",
    "status_class": "2xx to 5xx, and 429 and 529 for the model API's own refusals",
    "direction": "input, cached_input (part of input) or output",
    "outcome": "how it ended; the metric's description lists the values",
    "call": "charge, settle, resolve or adopt",
    "kind": "timeout, unreachable, overloaded (too much in flight) or refused (answered with an "
    "error)",
    "file": "policy, model (`classifier.model`) or geo (address data)",
    "limit": "name of a limit of the policy, or `identity`",
    "state": "watched, suspected, confirmed or dismissed",
    "level": "email, phone, payment, identity or organization",
    "revision": "12 hex digits over the policy's files",
    "why": "the metric's description lists the values",
    "version": "12 hex digits over the model file",
    "provider": "name of a provider in the settings",
    "worker": "number of the worker, from 0",
}
NOT_YET: frozenset[str] = frozenset()
"""Declared, so that dashboards can be built; nothing of this version counts into them."""

_HEAD = """\
# Metrics

What `/metrics` on the admin port shows, for Prometheus: the sum over all workers of one gateway.
Generated from `gateway/observe/metrics.py`.

Counters only grow, also when a worker dies and is started again; gauges are of the workers that
live. Counters without labels, and the series listed under *starts at 0*, are there before anything
was counted; so are, for every rule and limit of the policy in force, its series of
`hydragate_findings_total`, for the enforced ones those of `hydragate_decisions_total` and
`hydragate_degraded_total`, and for its sets of countries those of `hydragate_regions_total`. No
label names an account, an address, a cluster or free text; past 2,000 series of a metric in one
worker, new ones are counted under `other`.

"""


def render_metrics() -> str:
    """The whole page."""
    here = [_row(one) for one in TABLE if one.name not in NOT_YET]
    later = [_row(one) for one in TABLE if one.name in NOT_YET]
    head = ("Metric", "Type", "Labels", "")
    bounds = [(f"`{one.name}`", _bounds(one)) for one in TABLE if one.kind == HISTOGRAM]
    starts = [(f"`{one.name}`", _starts(one)) for one in TABLE if one.starts]
    labels = [(f"`{name}`", text) for name, text in LABELS.items()]
    return _HEAD + "\n".join(
        [
            table(head, here),
            *(
                [f"## Declared, without series in this version\n\n{table(head, later)}"]
                if later
                else []
            ),
            f"## Labels\n\n{table(('Label', 'Values'), labels)}",
            f"## Starts at 0\n\n{table(('Metric', 'Series'), starts)}",
            f"## Bounds of the histograms, in seconds\n\n{table(('Metric', 'Up to'), bounds)}",
        ]
    )


def _row(one: Definition) -> tuple[str, ...]:
    labels = ", ".join(f"`{label}`" for label in one.labels)
    return (f"`{one.name}`", one.kind, labels, one.doc)


def _bounds(one: Definition) -> str:
    return ", ".join(f"{bound:g}" for bound in one.buckets) + ", and beyond"


def _starts(one: Definition) -> str:
    if one.kind != COUNTER:
        raise ValueError(f"{one.name}: only a counter starts at 0")
    pairs = [dict(zip(one.labels, values, strict=True)) for values in one.starts]
    return ", ".join(
        "`" + ",".join(f"{name}={value}" for name, value in pair.items()) + "`" for pair in pairs
    )
