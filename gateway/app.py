"""The only place that builds everything: engine, guard, forwarder, store, log and metrics."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from .adapters.client import networks
from .adapters.forward import Target
from .adapters.geo import GeoHolder, geo_paths
from .adapters.headers import TrustedEdge
from .adapters.reading import GuardConfig
from .adapters.upstream import HttpUpstream, UpstreamSettings
from .classifiers.load import ModelHolder
from .classifiers.reader import TaskReader
from .core.keyed import MIN_SECRET_BYTES, KeyedHash
from .engine import Engine, PolicySource
from .errors import UsageError
from .linking.evidence import LinkingKeys
from .model import OnStoreError, Policy
from .observe.counters import WorkerMetrics
from .observe.decision_log import DecisionLog
from .observe.ids import DecisionIds
from .observe.log_slot import take_slot
from .observe.recorder import MetricsRecorder
from .observe.series import PolicySeries
from .policy.load import PolicyHolder
from .ports import Recorder
from .settings import GeoConfig, LinkerConfig, LogConfig, Settings, UpstreamConfig
from .stores import RedisStore, open_store
from .stores.late import LateStore
from .stores.memory import MemoryStore
from .workers.replay import REPLAY_SECRET, StoreAndDirectory

log = logging.getLogger("hydragate.app")

POLICY_POLL_S = 1.0


class SystemClock:
    """The machine's clock in microseconds."""

    def now_us(self) -> int:
        return time.time_ns() // 1000


def read_secret(path: Path, *, may_create: bool, least: int = MIN_SECRET_BYTES) -> bytes:
    """The secret in `path`; with `may_create` one is made there, readable by its owner only.

    A file that belongs to somebody else may be readable by its group: so Kubernetes hands a Secret
    of root's to a process (`fsGroup`), and then that group is the process's own.

    Raises UsageError when it is missing, too short, or readable by others.
    """
    if may_create and not path.exists():
        _make_secret(path)
    try:
        secret = path.read_bytes().strip()
        stat = path.stat()
        is_open = stat.st_mode & (0o077 if stat.st_uid == os.geteuid() else 0o037)
    except OSError as error:
        raise UsageError(f"{path}: the secret cannot be read: {error.strerror}") from None
    if len(secret) < least:
        raise UsageError(f"{path}: a secret has at least {least} bytes")
    if is_open:
        raise UsageError(f"{path}: others can read it; run: chmod 600 {path}")
    return secret


def _make_secret(path: Path) -> None:
    make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    except OSError as error:
        raise UsageError(f"{path}: the secret cannot be made: {error.strerror}") from None


def make_folder(folder: Path) -> None:
    """With those above it, and for us alone. Raises UsageError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made a folder: {error.strerror}") from None


def secret_path(settings: Settings) -> tuple[Path, bool]:
    """Where the secret is, and whether it may be made: only in our own data directory."""
    if settings.secret_file is not None:
        return settings.secret_file, False
    return settings.data_dir / "secret", True


def linking_keys(config: LinkerConfig, secret: KeyedHash) -> LinkingKeys:
    """What evidence is hashed under: a key of its own where one is set, else the secret.

    Raises UsageError as `read_secret` does.
    """
    keyed = [
        None if path is None else KeyedHash(read_secret(path, may_create=False))
        for path in (config.key_file, config.previous_key_file)
    ]
    return LinkingKeys(keyed[0] or secret, keyed[1])


def build_targets(settings: Settings) -> tuple[Target, ...]:
    return tuple(_target(config) for config in settings.upstreams)


def _target(config: UpstreamConfig) -> Target:
    parts = urlsplit(config.url)
    credential = None
    if config.api_key_file is not None:
        key = read_secret(config.api_key_file, may_create=False, least=1)
        value = b"Bearer " + key if config.api_key_header == "authorization" else key
        credential = (config.api_key_header.encode(), value)
    is_tls = parts.scheme == "https"
    upstream = HttpUpstream(
        UpstreamSettings(
            scheme=parts.scheme,
            host=parts.hostname or "",
            port=parts.port or (443 if is_tls else 80),
            ca_file=str(config.ca_file) if config.ca_file else None,
            max_connections=config.max_connections,
            connect_timeout_s=config.connect_timeout_s,
            pool_timeout_s=config.pool_timeout_s,
            write_timeout_s=config.write_timeout_s,
            header_timeout_s=config.header_timeout_s,
            read_timeout_s=config.read_timeout_s,
        )
    )
    return Target(
        config.name,
        upstream,
        parts.path.rstrip("/").encode(),
        config.models,
        config.paths,
        credential,
    )


def guard_config(settings: Settings) -> GuardConfig:
    identity = settings.identity_header
    edge = TrustedEdge(
        proxies=networks(settings.trusted_proxies),
        address_header=settings.address_header.encode(),
        identity_header=identity.name.encode() if identity else None,
        identity_networks=networks(identity.networks) if identity else (),
    )
    return GuardConfig(
        body_limit_bytes=settings.body_limit_bytes,
        buffered_limit_bytes=settings.buffered_limit_bytes,
        body_timeout_s=settings.body_timeout_s,
        edge=edge,
    )


def geo_holder(config: GeoConfig) -> GeoHolder:
    """Raises UsageError for a file that cannot be used."""
    return GeoHolder(geo_paths(config.files, bundled=config.bundled))


class StrictPolicies:
    """Policies where the operator's key stands in for the caller's: the model API then accepts
    every caller, so its acceptance proves nothing, and nobody unknown may be adopted or served.
    """

    def __init__(self, policies: PolicySource) -> None:
        self._policies = policies
        self._seen: Policy | None = None
        self._strict: Policy | None = None

    @property
    def current(self) -> Policy:
        policy = self._policies.current
        if self._strict is None or policy is not self._seen:
            self._seen = policy
            self._strict = replace(policy, adopts_unknown=False, on_store_error=OnStoreError.DENY)
        return self._strict


def policies_for(settings: Settings, policies: PolicySource) -> PolicySource:
    replaces_keys = any(upstream.api_key_file for upstream in settings.upstreams)
    return StrictPolicies(policies) if replaces_keys else policies


class PolledPolicies:
    """A policy that is looked at again once a second, by whoever asks for it."""

    def __init__(self, path: Path) -> None:
        self._holder = PolicyHolder(path)
        self._next_s = 0.0

    @property
    def current(self) -> Policy:
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + POLICY_POLL_S
            for problem in self._holder.reload_if_changed().problems:
                log.error("the changed policy is not used: %s", problem)
        return self._holder.current


def create_engine(
    *,
    policy: Path | str,
    store: str,
    secret_file: Path | str,
    log_dir: Path | str | None = None,
    geo_files: Sequence[Path | str] = (),
    metrics: WorkerMetrics | None = None,
    task_model: Path | str | None = None,
) -> Engine:
    """An engine for `app.add_middleware(Guard, engine=…)` in somebody's own application.

    `store` is a URL as `hydragate serve --store` takes it; it is opened by the first request, so
    this may be called before any event loop runs. Close with `await engine.store.aclose()`.
    `metrics` counts into `observe.exposition.ProcessCollector(metrics)`, to register with
    prometheus-client.
    `task_model` is a model file of `hydragate train`; without one the shipped model scores.

    Raises PolicyError for a bad policy, ModelError for a bad model and UsageError for a bad secret.
    """
    keyed = KeyedHash(read_secret(Path(secret_file), may_create=False))
    policies = PolledPolicies(Path(policy))
    counted = metrics or WorkerMetrics()
    counted.add_source(PolicySeries(policies, "middleware"))
    recorders: list[Recorder] = [MetricsRecorder(counted, policies)]
    if log_dir is not None:
        folder = Path(log_dir)
        make_folder(folder)
        decisions = DecisionLog(
            folder,
            worker=take_slot(folder),
            policies=policies,
            keyed=keyed,
            rotation=LogConfig(),
        )
        counted.add_source(decisions.report)
        atexit.register(decisions.close)
        recorders.append(decisions)

    async def opener() -> RedisStore:
        return await open_store(
            store, secret_fingerprint=keyed.fingerprint(), observe=counted.observe_store
        )

    return Engine(
        store=LateStore(opener),
        policies=policies,
        clock=SystemClock(),
        ids=DecisionIds(),
        keyed=keyed,
        recorders=tuple(recorders),
        tasks=TaskReader(ModelHolder(None if task_model is None else Path(task_model))),
        geo=geo_holder(GeoConfig(files=tuple(map(Path, geo_files)))),
    )


@asynccontextmanager
async def open_replay_store(url: str) -> AsyncIterator[StoreAndDirectory]:
    """`memory`, or a store by URL under a prefix of its own that is emptied first."""
    if url == "memory":
        yield MemoryStore()
        return
    store = await open_store(
        url,
        secret_fingerprint=KeyedHash(REPLAY_SECRET).fingerprint(),
        prefix=f"hgr{secrets.token_hex(4)}:",
        timeout_s=5.0,
    )
    try:
        yield store
    finally:
        await store.wipe()
        await store.aclose()
