"""What an operator sets: one file (`--config`), overridden by flags, checked before any start.

Everything here is plain data, so that the supervisor can hand it to its workers as JSON.
"""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

MIB = 1024 * 1024
VERSION = "/v1"
_CALL = re.compile(rf"{VERSION}(/(chat/completions|completions|responses|messages|models))?\Z")
Seconds = Annotated[float, Field(gt=0, le=86_400)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    def _check_pair(self, one: str, other: str) -> None:
        """Raises ValueError where one is set and the other is not."""
        if (getattr(self, one) is None) != (getattr(self, other) is None):
            raise ValueError(f"{one} and {other} go together")


class UpstreamConfig(_Closed):
    """One model API. Requests go to the first upstream whose `models` and `paths` match."""

    name: str = Field(default="upstream", pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")
    url: str
    models: tuple[str, ...] = ()  # shell patterns; empty: every model, and calls without one
    paths: tuple[str, ...] = ()  # path prefixes; empty: every path
    api_key_file: Path | None = None  # replaces the caller's credential
    api_key_header: str = Field(default="authorization", pattern=r"^[a-z0-9-]{1,64}$")
    ca_file: Path | None = None
    max_connections: int = Field(default=4096, ge=1, le=65_536)  # of each worker; one a stream
    connect_timeout_s: Seconds = 5.0
    pool_timeout_s: Seconds = 5.0
    write_timeout_s: Seconds = 30.0
    header_timeout_s: Seconds = 600.0
    read_timeout_s: Seconds = 120.0

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(f"'{url}' is no http(s) URL, such as https://api.example.com")
        if parts.username or parts.password:
            raise ValueError("credentials do not belong in the URL; use api_key_file")
        if parts.query or parts.fragment:
            raise ValueError(f"'{url}' must not have a query or fragment")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _begins_before_the_paths_of_calls(self) -> UpstreamConfig:
        """A base URL as client libraries want it ends in /v1, and what callers send begins so. Who
        means it says with `paths` that calls begin otherwise."""
        may_call_v1 = not self.paths or any(
            path.startswith(VERSION) or f"{VERSION}/".startswith(path) for path in self.paths
        )
        base = _CALL.sub("", self.url)
        if may_call_v1 and base != self.url:
            raise ValueError(
                f"'{self.url}' ends with what every call brings along, so that calls would go to "
                f"{self.url}{VERSION}/… and find nothing; write {base}"
            )
        return self


class IdentityHeader(_Closed):
    """A header in which an authenticating edge names the account; believed from `networks` only."""

    name: str = Field(pattern=r"^[a-z0-9-]{1,64}$")
    networks: tuple[str, ...] = Field(min_length=1)

    _networks = field_validator("networks")(lambda networks: check_networks(networks))

    @field_validator("name")
    @classmethod
    def _is_its_own(cls, name: str) -> str:
        if name in ("authorization", "x-api-key", "api-key", "x-goog-api-key", "host", "cookie"):
            raise ValueError(f"'{name}' carries other things; the edge needs a header of its own")
        return name


class LogConfig(_Closed):
    """The decision log: one file per worker under `dir`, rotated by size and age."""

    dir: Path | None = None  # default: <data dir>/log
    max_bytes: int = Field(default=64 * MIB, ge=64 * 1024)
    max_age_s: Seconds = 3600.0
    keep: int = Field(default=48, ge=1, le=100_000)


class LinkerConfig(_Closed):
    """The linker, and whether this gateway collects evidence for it.

    `run`: inside `serve`; false where `hydragate linker` runs by itself. `families` null: all.
    `key_file`: what evidence is hashed under, instead of the secret; `previous_key_file` the one
    before it, until whatever is active has been seen under both (docs/runbooks).
    """

    key_file: Path | None = None
    previous_key_file: Path | None = None
    collect: bool = True
    run: bool = True
    families: tuple[str, ...] | None = None
    tick_s: Seconds = 2.0
    snapshot_s: Seconds = 30.0
    lease_s: float = Field(default=10.0, ge=1, le=300)

    @model_validator(mode="after")
    def _has_a_current_key(self) -> LinkerConfig:
        if self.previous_key_file is not None and self.key_file is None:
            raise ValueError("previous_key_file goes with key_file, the key that follows it")
        return self


class ClassifierConfig(_Closed):
    """What scores requests by task. `model` null: the one that is shipped. `always`: also where
    the policy names no score."""

    model: Path | None = None
    always: bool = False


class GeoConfig(_Closed):
    """Address data. `files`: MaxMind-format or compact ones, the first that knows a field wins;
    the bundled one comes last. Reloaded when they change. Lists of hosting, VPN and Tor networks
    age faster than countries do, so that `hydragate doctor` warns of them earlier."""

    files: tuple[Path, ...] = Field(default=(), max_length=8)
    bundled: bool = True
    warn_after_days: float = Field(default=180, gt=0)
    warn_lists_after_days: float = Field(default=90, gt=0)


class ChecksConfig(_Closed):
    """The port where data planes ask (Envoy's ext_authz, nginx's auth_request), and the one where
    they report (Fluentd over TCP, syslog over UDP). Nobody else may reach either of them.

    `settle_within_s`: after this long without a report an exchange is closed as unsettled.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=9191, ge=1, le=65_535)
    report_port: int = Field(default=9192, ge=1, le=65_535)
    settle_within_s: float = Field(default=900.0, ge=1, le=86_400)


class EnvoyConfig(_Closed):
    """What `hydragate envoy-config` writes beyond what is said elsewhere.

    `failure_mode_allow`: whether requests pass unseen while no gateway answers. `gateway_host`:
    where Envoy finds the check port, if it is not `checks.host`. `proxy_protocol`: every connection
    to Envoy begins with a PROXY header, versions 1 and 2, and comes from one of `trusted_proxies`.
    """

    host: str = "0.0.0.0"  # noqa: S104  a data plane is there to be reached
    port: int = Field(default=8443, ge=1, le=65_535)
    admin_port: int = Field(default=9901, ge=1, le=65_535)
    gateway_host: str | None = None
    check_timeout_s: Seconds = 0.5
    failure_mode_allow: bool = False
    proxy_protocol: bool = False
    max_connections: int = Field(default=65_536, ge=1)
    tls_cert: Path | None = None
    tls_key: Path | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> EnvoyConfig:
        self._check_pair("tls_cert", "tls_key")
        return self


class SmtpConfig(_Closed):
    """Where mail is handed over. `tls`: starttls (then never without), tls, or none."""

    host: str
    port: int = Field(default=587, ge=1, le=65_535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    sender: str = Field(pattern=r"^[^@\s<>]+@[^@\s<>]+$")

    @model_validator(mode="after")
    def _is_coherent(self) -> SmtpConfig:
        self._check_pair("user", "password_file")
        return self


class ProviderConfig(_Closed):
    """Who verifies elsewhere and tells by signed webhook. In `start_url` stand `{session}` and
    `{return_url}`, each percent-encoded there."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")
    title: str = Field(min_length=1, max_length=60)  # as the page names it
    kind: Literal["hmac", "stripe"] = "hmac"
    levels: tuple[Literal["phone", "payment", "identity", "organization"], ...] = Field(
        min_length=1
    )
    start_url: str
    secret_file: Path
    needs_fingerprint: bool = True  # a pass without one is refused: nobody could count accounts

    @field_validator("start_url")
    @classmethod
    def _is_complete(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise ValueError(f"'{url}' is no https URL")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("http is for tests on this machine only; use https")
        if "{session}" not in parts.query + parts.path:
            raise ValueError("must say where the session goes: …?session={session}")
        return url


class DirectoryConfig(_Closed):
    """The platform's account directory, told of grants by signed webhook."""

    url: str
    secret_file: Path
    give_up_s: float = Field(default=259_200, gt=0, le=2_592_000)
    timeout_s: float = Field(default=10.0, gt=0, le=60)

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{url}' is no http(s) URL")
        return url


class VerificationConfig(_Closed):
    """Pages and webhooks under `/.hydragate/`. `public_url` is how callers reach this gateway:
    links are made of it and never of what a request says its host is."""

    public_url: str
    service_name: str = Field(default="this API", min_length=1, max_length=60)
    link_ttl_s: float = Field(default=86_400, ge=300, le=2_592_000)
    smtp: SmtpConfig | None = None
    providers: tuple[ProviderConfig, ...] = Field(default=(), max_length=16)
    directory: DirectoryConfig | None = None
    max_accounts: dict[
        Literal["email", "phone", "payment", "identity", "organization"],
        Annotated[int, Field(ge=1, le=1_000)],
    ] = {}
    disposable_file: Path | None = None  # domains, one a line, beside those that are bundled
    codes_per_hour: int = Field(default=3_600, ge=10, le=1_000_000)

    @field_validator("public_url")
    @classmethod
    def _is_origin(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{url}' is no http(s) URL, such as https://api.example.com")
        if parts.query or parts.fragment or parts.username or parts.path.rstrip("/"):
            raise ValueError(f"'{url}' is more than scheme, host and port")
        return _as_origin(parts)

    @model_validator(mode="after")
    def _is_coherent(self) -> VerificationConfig:
        names = [provider.name for provider in self.providers]
        if len(set(names)) != len(names):
            raise ValueError("two providers have the same name")
        if self.smtp is None and not self.providers:
            raise ValueError("says no way to verify: add smtp, or providers")
        return self


class Settings(_Closed):
    """All of `hydragate serve`."""

    upstreams: tuple[UpstreamConfig, ...] = Field(min_length=1)
    policy: Path
    accounts: Path | None = None
    store: str = "embedded"
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    admin_host: str = "127.0.0.1"
    admin_port: int = Field(default=9090, ge=0, le=65_535)
    admin_token_file: Path | None = None  # default: <data dir>/admin-token, made at first start
    workers: int = Field(default=1, ge=1, le=256)
    secret_file: Path | None = None  # default: <data dir>/secret, made at first start
    data_dir: Path = Path(".hydragate")
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    address_header: str = Field(default="x-forwarded-for", pattern=r"^[a-z0-9-]{1,64}$")
    proxy_protocol: bool = False  # every connection begins with a PROXY header, versions 1 and 2
    geo: GeoConfig = GeoConfig()
    identity_header: IdentityHeader | None = None
    body_limit_bytes: int = Field(default=32 * MIB, ge=1024, le=1024 * MIB)
    buffered_limit_bytes: int = Field(default=512 * MIB, ge=MIB)
    body_timeout_s: Seconds = 60.0
    max_client_connections: int = Field(default=16_384, ge=1, le=1_048_576)  # of each worker
    client_write_timeout_s: Seconds = 60.0  # for each 64 KiB or so that wait to be read
    drain_s: Seconds = 30.0
    store_timeout_s: float = Field(default=0.045, gt=0, le=5)
    policy_poll_s: Seconds = 1.0
    probe_upstreams: bool = True  # asks each once, without a key, where unknown keys are adopted
    log: LogConfig = LogConfig()
    linker: LinkerConfig = LinkerConfig()
    windows: bool = False  # keeps what accounts did of late even where no policy asks for it
    classifier: ClassifierConfig = ClassifierConfig()
    checks: ChecksConfig | None = None
    envoy: EnvoyConfig = EnvoyConfig()
    verification: VerificationConfig | None = None  # None: no pages; 403 names no URL

    _networks = field_validator("trusted_proxies")(lambda networks: check_networks(networks))

    @model_validator(mode="after")
    def _is_coherent(self) -> Settings:
        self._check_pair("tls_cert", "tls_key")
        if (self.proxy_protocol or self.envoy.proxy_protocol) and not self.trusted_proxies:
            raise ValueError("proxy_protocol needs trusted_proxies: who else may say who calls?")
        if self.proxy_protocol and self.tls_cert is not None:
            raise ValueError(
                "proxy_protocol and tls_cert do not go together: let the balancer end TLS"
            )
        if self.proxy_protocol and self.checks is not None:
            raise ValueError(
                "proxy_protocol and checks do not go together: the data plane reads PROXY headers "
                "(`envoy: {proxy_protocol: true}`)"
            )
        if self.checks is not None and self.checks.port == self.checks.report_port:
            raise ValueError("checks.port and checks.report_port are two ports")
        if self.checks is not None and self.tls_cert is not None:
            raise ValueError(
                "with checks the gateway's ports speak no TLS; the data plane does: envoy.tls_cert"
            )
        names = [upstream.name for upstream in self.upstreams]
        if len(set(names)) != len(names):
            raise ValueError("two upstreams have the same name")
        return self


def _as_origin(parts: SplitResult) -> str:
    """As browsers write it in `Origin`: lower case, ASCII, without the scheme's own port."""
    host = parts.hostname or ""
    shown = f"[{host}]" if ":" in host else host.encode("idna").decode()
    if parts.port is None or parts.port == {"http": 80, "https": 443}[parts.scheme]:
        return f"{parts.scheme}://{shown}"
    return f"{parts.scheme}://{shown}:{parts.port}"


def check_networks(networks: tuple[str, ...]) -> tuple[str, ...]:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueError(f"'{network}' is no network, such as 10.0.0.0/8: {error}") from None
    return networks
