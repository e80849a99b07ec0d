"""From settings to a desk and its site, the rounds, and what operators may do."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path

from ..adapters import verify
from ..adapters.client import TrustedEdge
from ..adapters.verify.mail import Mailer, Smtp
from ..adapters.verify.port import Provider
from ..adapters.verify.site import SiteTerms, VerificationSite
from ..core.keyed import KeyedHash
from ..errors import UsageError
from ..model import SECOND_US, Decision, Level, Policy
from ..observe.counters import WorkerMetrics
from ..ports import Clock
from ..settings import SmtpConfig, VerificationConfig
from ..stores import RedisStore
from ..stores.verification import VerificationBook
from .verification_desk import DEFAULT_MAX_ACCOUNTS, DeskTerms, VerificationDesk
from .verification_orders import VerificationOrders
from .verification_rounds import Receiver, VerificationRounds

MAX_DISPOSABLE_BYTES = 16 * 1024 * 1024
Secrets = Callable[[Path], bytes]
"""Reads a secret file; raises UsageError."""


def disposable_domains(own: Path | None) -> frozenset[str]:
    """The bundled list and the operator's. Raises UsageError."""
    bundled = files(verify).joinpath("disposable_domains.txt.gz").read_bytes()
    text = gzip.decompress(bundled)
    if own is not None:
        try:
            text += b"\n" + own.read_bytes()[:MAX_DISPOSABLE_BYTES]
        except OSError as error:
            raise UsageError(f"{own}: cannot be read: {error.strerror}") from None
    lines = [line.strip().lower() for line in text.decode("utf-8", "replace").splitlines()]
    return frozenset([line for line in lines if line and not line.startswith("#")])


def desk_terms(config: VerificationConfig) -> DeskTerms:
    levels = {Level[name.upper()] for one in config.providers for name in one.levels}
    if config.smtp is not None:
        levels.add(Level.EMAIL)
    own = {Level[name.upper()]: most for name, most in config.max_accounts.items()}
    return DeskTerms(
        levels=frozenset(levels),
        link_ttl_us=int(config.link_ttl_s * SECOND_US),
        max_accounts=DEFAULT_MAX_ACCOUNTS | own,
        disposable=disposable_domains(config.disposable_file),
        codes_per_hour=config.codes_per_hour,
    )


def build_desk(
    store: RedisStore,
    config: VerificationConfig,
    *,
    keyed: KeyedHash,
    clock: Clock,
    policy: Callable[[], Policy],
    metrics: WorkerMetrics,
) -> VerificationDesk:
    def timed(level: Level, seconds: float) -> None:
        metrics.observe("hydragate_verification_seconds", seconds, (level.name.lower(),))

    return VerificationDesk(
        store,
        keyed=keyed,
        clock=clock,
        terms=desk_terms(config),
        policy=policy,
        count=partial(_count, metrics),
        timed=timed,
    )


def build_orders(store: RedisStore, *, clock: Clock, metrics: WorkerMetrics) -> VerificationOrders:
    """What operators may do, also where no page is served."""
    return VerificationOrders(VerificationBook(store), clock=clock, count=partial(_count, metrics))


def _count(metrics: WorkerMetrics, level: Level, outcome: str) -> None:
    metrics.inc("hydragate_verifications_total", (level.name.lower(), outcome))


def build_site(
    desk: VerificationDesk,
    config: VerificationConfig,
    *,
    edge: TrustedEdge,
    keyed: KeyedHash,
    clock: Clock,
    metrics: WorkerMetrics,
    secrets: Secrets,
) -> VerificationSite:
    providers = tuple(
        [
            Provider(
                one.name,
                one.title,
                one.kind,
                frozenset([Level[name.upper()] for name in one.levels]),
                one.start_url,
                secrets(one.secret_file),
                one.needs_fingerprint,
            )
            for one in config.providers
        ]
    )
    smtp = None if config.smtp is None else smtp_of(config.smtp, secrets)
    return VerificationSite(
        desk,
        terms=SiteTerms(config.public_url, config.service_name, providers, edge),
        mailer=None if smtp is None else Mailer(smtp, service_name=config.service_name),
        keyed=keyed,
        clock=clock,
        count_webhook=lambda name, outcome: metrics.inc(
            "hydragate_verification_webhooks_total", (name, outcome)
        ),
    )


def link_maker(desk: VerificationDesk, site: VerificationSite) -> Callable[[Decision], str | None]:
    """The URL of a refusal; None where there is no account to verify."""

    def link(decision: Decision) -> str | None:
        token = desk.token_for(decision.subject, decision.level, decision.reason)
        return None if token is None else site.url_of(token)

    return link


def smtp_of(config: SmtpConfig, secrets: Secrets) -> Smtp:
    password = None if config.password_file is None else secrets(config.password_file).decode()
    return Smtp(
        config.host,
        config.port,
        config.tls,
        config.sender,
        config.user,
        password,
        None if config.ca_file is None else str(config.ca_file),
        config.timeout_s,
    )


def build_rounds(
    store: RedisStore,
    config: VerificationConfig,
    *,
    clock: Clock,
    metrics: WorkerMetrics,
    secrets: Secrets,
) -> VerificationRounds:
    told = config.directory
    receiver = None
    if told is not None:
        secret = secrets(told.secret_file)
        give_up_us = int(told.give_up_s * SECOND_US)
        receiver = Receiver(told.url, secret, give_up_us, told.timeout_s)
    return VerificationRounds(
        store,
        clock=clock,
        receiver=receiver,
        count=partial(_count, metrics),
        count_news=lambda outcome: metrics.inc("hydragate_directory_news_total", (outcome,)),
    )
