"""Every metric in one table. Label values come from closed sets and from the policy's names,
never from callers. How they are counted: `counters.py`; how they are shown: `exposition.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from ..model import NETWORK_CLASSES, Outcome, Verdict

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
LabelValues = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric; `buckets` are upper bounds in the metric's unit.

    `starts` are the series of a counter that are there at 0 before anything was counted: a rate
    does not see the step from no series to 1. A counter without labels always starts.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    doc: str
    buckets: tuple[float, ...] = ()
    starts: tuple[LabelValues, ...] = ()


LEVELS = ("email", "phone", "payment", "identity", "organization")
OUTCOMES = ("asked", "started", "passed", "failed", "abandoned", "clean", "tainted")
MAIL_OUTCOMES = ("sent", "mail_failed")
_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_STORE_CALLS = ("charge", "settle", "resolve", "adopt")
_STORE_ERRORS = ("timeout", "unreachable", "overloaded", "refused")
_SCORES = (0.05, 0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 0.95)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

TABLE = (
    Definition(
        "hydragate_decisions_total",
        COUNTER,
        ("verdict", "would_be", "reason", "surface"),
        "Decisions; would_be is the verdict had nothing been in shadow.",
    ),
    Definition(
        "hydragate_findings_total",
        COUNTER,
        ("rule", "verdict", "mode"),
        "Opinions of rules and limits, shadow ones too.",
    ),
    Definition(
        "hydragate_decision_seconds",
        HISTOGRAM,
        (),
        "From the request being read to the decision.",
        _FAST,
    ),
    Definition(
        "hydragate_request_seconds",
        HISTOGRAM,
        ("surface",),
        "Whole exchanges, streams to their end.",
        _SLOW,
    ),
    Definition(
        "hydragate_upstream_seconds",
        HISTOGRAM,
        ("status_class",),
        "Until the head of the model API's answer; its 429 and 529 apart from 4xx and 5xx.",
        _SLOW,
    ),
    Definition(
        "hydragate_tokens_total",
        COUNTER,
        ("direction",),
        "Tokens really used: input, cached_input (part of input) and output.",
        starts=(("input",), ("cached_input",), ("output",)),
    ),
    Definition(
        "hydragate_networks_total",
        COUNTER,
        ("network_class", "verdict"),
        "Decisions by the class of the client's network.",
        starts=tuple(product((*NETWORK_CLASSES, "unknown"), [v.text for v in Verdict])),
    ),
    Definition(
        "hydragate_regions_total",
        COUNTER,
        ("region_set", "verdict"),
        "Decisions about networks in a country of the set, whatever their class and the reason.",
    ),
    Definition("hydragate_inflight", GAUGE, (), "Exchanges under way."),
    Definition(
        "hydragate_exchanges_total",
        COUNTER,
        ("outcome",),
        "How exchanges ended: complete, refused, client_left, upstream_failed, unsettled.",
        starts=tuple((outcome.value,) for outcome in Outcome),
    ),
    Definition("hydragate_store_seconds", HISTOGRAM, ("call",), "Round trips to the store.", _FAST),
    Definition(
        "hydragate_store_errors_total",
        COUNTER,
        ("call", "kind"),
        "Calls that the store did not answer as it should.",
        starts=tuple(product(_STORE_CALLS, _STORE_ERRORS)),
    ),
    Definition(
        "hydragate_degraded_total",
        COUNTER,
        ("limit",),
        "Limits that were decided without the store; 'identity': the caller could not be known.",
        starts=(("identity",),),
    ),
    Definition("hydragate_clusters", GAUGE, ("state",), "Clusters of linked accounts."),
    Definition("hydragate_cluster_accounts", GAUGE, ("state",), "Accounts in clusters."),
    Definition(
        "hydragate_linker_lag_seconds",
        GAUGE,
        (),
        "Age of the oldest unread evidence, on the store's clock; the same on every gateway.",
    ),
    Definition(
        "hydragate_linker_status_age_seconds",
        GAUGE,
        (),
        "Since a linker last said that it leads, or since none was found that ever did; "
        "grows while none does.",
    ),
    Definition("hydragate_linker_frozen", GAUGE, (), "1 while nobody is linked anew."),
    Definition(
        "hydragate_linker_unpublished", GAUGE, (), "Accounts whose cluster is still to be written."
    ),
    Definition("hydragate_evidence_pairs_total", COUNTER, (), "New (account, key) pairs offered."),
    Definition(
        "hydragate_evidence_dropped_total",
        COUNTER,
        ("why",),
        "not_sent: the store was away too long; not_read: a request could not be looked at; "
        "trimmed: no linker read it in time.",
        starts=(("not_sent",), ("not_read",), ("trimmed",)),
    ),
    Definition(
        "hydragate_verifications_total",
        COUNTER,
        ("level", "outcome"),
        "Verification, by account: asked, started (its page was opened), passed, abandoned, and "
        "after a week clean or tainted; and single steps: sent, mail_failed, wrong_code, "
        "failed and others.",
        starts=(*product(LEVELS, OUTCOMES), *product(("email",), MAIL_OUTCOMES)),
    ),
    Definition(
        "hydragate_verification_asks_total",
        COUNTER,
        ("level", "reason"),
        "Accounts that were asked, by the rule that did.",
    ),
    Definition(
        "hydragate_verification_seconds",
        HISTOGRAM,
        ("level",),
        "From the first ask to the pass.",
        (30.0, 60.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0),
    ),
    Definition(
        "hydragate_verification_webhooks_total",
        COUNTER,
        ("provider", "outcome"),
        "Webhooks of providers: what they came to, or why they were not believed.",
    ),
    Definition(
        "hydragate_directory_news_total",
        COUNTER,
        ("outcome",),
        "News for the platform's directory: delivered, retried, or dead (given up on).",
        starts=(("delivered",), ("retried",), ("dead",)),
    ),
    Definition("hydragate_directory_dead", GAUGE, (), "News that wait for an operator."),
    Definition("hydragate_appeals_waiting", GAUGE, (), "Accounts whose appeal waits."),
    Definition("hydragate_shadow_all", GAUGE, (), "1 while the kill switch stops every refusal."),
    Definition(
        "hydragate_appeal_age_seconds",
        GAUGE,
        (),
        "Since the appeal that has waited longest was written; 0: none waits.",
    ),
    Definition(
        "hydragate_policy_info", GAUGE, ("revision",), "Workers that decide by this revision."
    ),
    Definition(
        "hydragate_policy_reload_total",
        COUNTER,
        ("outcome",),
        "Changed policies that a worker swapped in (ok) or refused (failed).",
        starts=(("ok",), ("failed",)),
    ),
    Definition(
        "hydragate_files_refused",
        GAUGE,
        ("file",),
        "Workers for which the file in place is bad and an earlier one is in force.",
    ),
    Definition(
        "hydragate_geo_age_seconds",
        GAUGE,
        (),
        "Age of the oldest address data in use; the same on every gateway with the same files.",
    ),
    Definition(
        "hydragate_geo_reload_total",
        COUNTER,
        ("outcome",),
        "Changed address files that a worker swapped in (ok) or refused (failed).",
        starts=(("ok",), ("failed",)),
    ),
    Definition(
        "hydragate_model_info", GAUGE, ("version",), "Workers that score requests by this model."
    ),
    Definition(
        "hydragate_model_reload_total",
        COUNTER,
        ("outcome",),
        "Changed model files that a worker swapped in (ok) or refused (failed).",
        starts=(("ok",), ("failed",)),
    ),
    Definition(
        "hydragate_task_score",
        HISTOGRAM,
        ("task",),
        "Scores that the model gave, 0 to 1, of every request that was scored, for each task.",
        _SCORES,
    ),
    Definition(
        "hydragate_task_failures_total", COUNTER, (), "Requests that could not be scored by task."
    ),
    Definition(
        "hydragate_log_lines_total",
        COUNTER,
        ("outcome",),
        "Decision log lines: written, or dropped because the disk or the buffer was full.",
        starts=(("written",), ("dropped",)),
    ),
    Definition("hydragate_bad_http_total", COUNTER, (), "Connections that spoke no sound HTTP."),
    Definition(
        "hydragate_slow_clients_total", COUNTER, (), "Connections cut: the client did not read."
    ),
    Definition("hydragate_client_connections", GAUGE, (), "Connections of clients that are open."),
    Definition(
        "hydragate_client_connections_shed_total",
        COUNTER,
        ("outcome",),
        "Beyond max_client_connections: closed while they waited for a request (gave_way), or "
        "refused because all were being served (refused).",
        starts=(("gave_way",), ("refused",)),
    ),
    Definition(
        "hydragate_pending", GAUGE, (), "Exchanges that a data plane carries and has not reported."
    ),
    Definition(
        "hydragate_settlements_total",
        COUNTER,
        ("outcome",),
        "Reports of data planes: settled, unknown (settled before, or decided elsewhere), or "
        "unreadable.",
        starts=(("settled",), ("unknown",), ("unreadable",)),
    ),
    Definition("hydragate_worker_restarts_total", COUNTER, (), "Workers started again."),
    Definition(
        "hydragate_worker_hangs_total",
        COUNTER,
        (),
        "A worker said nothing for 5 s: its callers wait; after 25 s it is killed.",
    ),
    Definition("hydragate_linker_restarts_total", COUNTER, (), "Our linker started again."),
    Definition("hydragate_store_restarts_total", COUNTER, (), "Embedded store started again."),
    Definition("hydragate_store_losses_total", COUNTER, (), "The store had lost all that it held."),
    Definition("hydragate_workers", GAUGE, (), "Workers that serve."),
    Definition(
        "hydragate_worker_descriptors_ratio",
        GAUGE,
        ("worker",),
        "Files and connections open, of the most that may be; at 1 new connections are closed.",
    ),
    Definition("hydragate_worker_memory_bytes", GAUGE, ("worker",), "Resident memory."),
    Definition("hydragate_worker_cpu_seconds_total", COUNTER, ("worker",), "CPU time."),
)
BY_NAME = {definition.name: definition for definition in TABLE}
