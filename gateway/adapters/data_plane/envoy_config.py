"""A complete Envoy bootstrap from the gateway's own settings, as plain data.

Law: the bytes that are decided on are the bytes that go on: no path is normalised, no slash
merged, no header of the caller's taken for the data plane's, and nothing is retried.
Source: Envoy 1.40, api/envoy/config/bootstrap/v3 and the filters named below.
"""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from ...settings import ChecksConfig, EnvoyConfig, Settings, UpstreamConfig
from .checks import CHECK_PREFIX, NO_UPSTREAM
from .envoy_answers import (
    Json,
    header,
    own_errors,
)
from .lua import lua_source
from .reading import JA4, PEER

TYPE = "type.googleapis.com/envoy."
AUTHZ = "envoy.filters.http.ext_authz"
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"
REPORT_EVERY = "0.100s"
NOWHERE = "hydragate_nowhere"  # a cluster without hosts: 502, as for a model API that is away
REPORT_BYTES = 16_384
SPLICED_BYTES = 65_536  # room for what the Lua filter puts into a body
CLAIMS = (
    *("cf-connecting-ip", "client-ip", "fastly-client-ip", "forwarded", "true-client-ip"),
    *("x-client-ip", "x-cluster-client-ip", "x-original-forwarded-for", "x-real-ip"),
    *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"),
    *("x-envoy-external-address", "x-envoy-internal", "x-envoy-expected-rq-timeout-ms"),
)
PREFIXES = ("x-hydragate-", "x-envoy-")  # a caller's x-envoy-retry-on would be obeyed
REFUSAL_HEADERS = (
    *("content-type", "cache-control", "retry-after", "request-id", "x-request-id"),
    *("x-hydragate-decision", "x-should-retry", "ratelimit", "ratelimit-policy"),
)
_SPLICE = "x-hydragate-splice"  # on the way to the Lua filter, which takes it out
_HEADERS_UP = (
    *("accept-encoding", "authorization", "content-type", "x-hydragate-upstream", _SPLICE),
)


def envoy_bootstrap(settings: Settings, checks: ChecksConfig) -> Json:
    envoy = settings.envoy
    return {
        "node": {"id": "hydragate", "cluster": "hydragate"},
        "admin": {"address": _address("127.0.0.1", envoy.admin_port)},
        "static_resources": {
            "listeners": [_listener(settings)],
            "clusters": [
                *(_upstream_cluster(upstream, envoy) for upstream in settings.upstreams),
                {"name": NOWHERE, "type": "STATIC", "connect_timeout": "1s"},
                _gateway_cluster("hydragate_checks", envoy, checks, checks.port),
                _gateway_cluster("hydragate_reports", envoy, checks, checks.report_port),
            ],
        },
    }


# ── downstream ───────────────────────────────────────────────────────────────────────────────


def _listener(settings: Settings) -> Json:
    envoy = settings.envoy
    chain: Json = {"filters": [_connection_manager(settings)]}
    listener: Json = {
        "name": "public",
        "address": _address(envoy.host, envoy.port),
        "per_connection_buffer_limit_bytes": 1024 * 1024,
        "filter_chains": [chain],
    }
    filters = []
    if envoy.proxy_protocol:
        filters.append(_listener_filter("proxy_protocol", "ProxyProtocol"))
        # By the connection's own peer: who may say whose connection it is. Others are closed.
        chain["filter_chain_match"] = {
            "direct_source_prefix_ranges": [_prefix(text) for text in settings.trusted_proxies]
        }
    if envoy.tls_cert is not None:
        chain["transport_socket"] = _tls(envoy)
        filters.append(
            _listener_filter("tls_inspector", "TlsInspector", enable_ja4_fingerprinting=True)
        )
    if filters:
        listener["listener_filters"] = filters
    return listener


def _listener_filter(name: str, kind: str, **more: Any) -> Json:
    config = {"@type": f"{TYPE}extensions.filters.listener.{name}.v3.{kind}", **more}
    return {"name": f"envoy.filters.listener.{name}", "typed_config": config}


def _prefix(text: str) -> Json:
    network = ip_network(text, strict=False)
    return {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}


def _tls(envoy: EnvoyConfig) -> Json:
    context = f"{TYPE}extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    pair = {
        "certificate_chain": {"filename": str(envoy.tls_cert)},
        "private_key": {"filename": str(envoy.tls_key)},
    }
    common = {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": context, "common_tls_context": common},
    }


def _connection_manager(settings: Settings) -> Json:
    base = f"{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    envoy = settings.envoy
    return {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": base,
            "stat_prefix": "public",
            "codec_type": "AUTO",
            "use_remote_address": True,
            "skip_xff_append": True,
            "normalize_path": False,
            "merge_slashes": False,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "generate_request_id": False,
            "preserve_external_request_id": True,
            "server_header_transformation": "PASS_THROUGH",
            "max_request_headers_kb": 64,
            "request_headers_timeout": "15s",
            "stream_idle_timeout": f"{_longest_wait_s(settings):g}s",
            "common_http_protocol_options": {
                "idle_timeout": "75s",
                "max_headers_count": 120,
                "headers_with_underscores_action": "REJECT_REQUEST",
            },
            "early_header_mutation_extensions": [_seen_by_us(envoy)],
            "local_reply_config": {"mappers": own_errors()},
            "access_log": [_reports()],
            "http_filters": [_ext_authz(settings), _lua(), _router()],
            "route_config": _routes(settings),
        },
    }


def _longest_wait_s(settings: Settings) -> float:
    """For the head of an answer or its next piece; Envoy has one clock for both."""
    return max(max(u.header_timeout_s, u.read_timeout_s) for u in settings.upstreams)


def _seen_by_us(envoy: EnvoyConfig) -> Json:
    """Overwrites what a caller put there. The peer is who opened the connection to Envoy, or who
    its PROXY header names; what X-Forwarded-For says is the gateway's to judge."""
    whose = "" if envoy.proxy_protocol else "DIRECT_"
    base = f"{TYPE}extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
    seen = {
        PEER.decode(): f"%DOWNSTREAM_{whose}REMOTE_ADDRESS_WITHOUT_PORT%",
        JA4.decode(): "%TLS_JA4_FINGERPRINT%",
    }
    told = [
        {
            "append": {
                "header": {"key": name, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        }
        for name, value in seen.items()
    ]
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": base,
            "mutations": [
                *({"remove_on_match": {"key_matcher": {"prefix": ours}}} for ours in PREFIXES),
                *told,
            ],
        },
    }


# ── the check, the usage, the report ─────────────────────────────────────────────────────────


def _ext_authz(settings: Settings) -> Json:
    envoy = settings.envoy
    uri = {
        "uri": "http://hydragate",
        "cluster": "hydragate_checks",
        "timeout": f"{envoy.check_timeout_s:g}s",
    }
    own = {u.api_key_header for u in settings.upstreams if u.api_key_file is not None}
    up = sorted({*_HEADERS_UP, *own})
    return {
        "name": AUTHZ,
        "typed_config": {
            "@type": f"{TYPE}extensions.filters.http.ext_authz.v3.ExtAuthz",
            "failure_mode_allow": envoy.failure_mode_allow,
            "status_on_error": {"code": "ServiceUnavailable"},
            "clear_route_cache": True,
            # One byte more than is read, so that it is the gateway that says 413.
            "with_request_body": {
                "max_request_bytes": settings.body_limit_bytes + 1,
                "allow_partial_message": True,
            },
            "allowed_headers": {"patterns": [{"safe_regex": {"regex": ".*"}}]},
            "http_service": {
                "server_uri": uri,
                "path_prefix": CHECK_PREFIX,
                "authorization_response": {
                    "allowed_upstream_headers": {"patterns": [{"exact": name} for name in up]},
                    "allowed_client_headers": {
                        "patterns": [
                            *({"exact": name} for name in REFUSAL_HEADERS),
                            {"prefix": "x-ratelimit-"},
                            {"prefix": "anthropic-ratelimit-"},
                        ]
                    },
                    "dynamic_metadata_from_headers": {"patterns": [{"prefix": "x-hydragate-"}]},
                },
            },
        },
    }


def _lua() -> Json:
    return {
        "name": "envoy.filters.http.lua",
        "typed_config": {
            "@type": f"{TYPE}extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": lua_source("envoy")},
        },
    }


def _router() -> Json:
    return {
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": f"{TYPE}extensions.filters.http.router.v3.Router",
            "suppress_envoy_headers": True,
        },
    }


def _reports() -> Json:
    """Only of what the gateway passed: a refusal is finished when it is made."""
    base = f"{TYPE}extensions.access_loggers.fluentd.v3.FluentdAccessLogConfig"
    has_ticket = {
        "metadata_filter": {
            "matcher": {
                "filter": AUTHZ,
                "path": [{"key": "x-hydragate-ticket"}],
                "value": {"present_match": True},
            },
            "match_if_key_not_found": False,
        }
    }
    return {
        "name": "envoy.access_loggers.fluentd",
        "filter": has_ticket,
        "typed_config": {
            "@type": base,
            "cluster": "hydragate_reports",
            "tag": "envoy",
            "stat_prefix": "hydragate",
            "buffer_flush_interval": REPORT_EVERY,
            "buffer_size_bytes": REPORT_BYTES,
            "record": {
                "ticket": f"%DYNAMIC_METADATA({AUTHZ}:x-hydragate-ticket)%",
                "status": "%RESPONSE_CODE%",
                "flags": "%RESPONSE_FLAGS%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "up_ms": "%RESPONSE_DURATION%",
                "ms": "%DURATION%",
                "seen": "%DYNAMIC_METADATA(hydragate:seen)%",
                "head": "%DYNAMIC_METADATA(hydragate:head)%",
            },
        },
    }


# ── upstream ─────────────────────────────────────────────────────────────────────────────────


def _routes(settings: Settings) -> Json:
    to_each = [_route(upstream) for upstream in settings.upstreams]
    unseen = []
    if settings.envoy.failure_mode_allow:  # nobody said where to: the first that takes the path
        unseen = [
            route
            for upstream in settings.upstreams
            if upstream.api_key_file is None
            for route in _unseen(upstream)
        ]
    # No direct response: until the gateway has chosen, this is the route, and a body's bound is
    # asked of a route that leads somewhere.
    nowhere = [{"match": {"prefix": "/"}, "route": {"cluster": NOWHERE}}]
    return {
        "name": "public",
        "response_headers_to_remove": ["alt-svc", "x-envoy-upstream-service-time"],
        "request_headers_to_remove": [
            *(*CLAIMS, "x-hydragate-upstream", _SPLICE),
            *(PEER.decode(), JA4.decode()),
        ],
        "request_headers_to_add": [header("via", "1.1 hydragate")],
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [*to_each, *unseen, *nowhere],
                # Else nothing that is larger than a connection's buffer could be asked about.
                "request_body_buffer_limit": settings.body_limit_bytes + SPLICED_BYTES,
            }
        ],
    }


def _route(upstream: UpstreamConfig) -> Json:
    named = {"name": "x-hydragate-upstream", "string_match": {"exact": upstream.name}}
    return {"match": {"prefix": "/", "headers": [named]}, "route": _action(upstream)}


def _unseen(upstream: UpstreamConfig) -> list[Json]:
    absent = {"name": "x-hydragate-upstream", "present_match": False}
    return [
        {"match": {"prefix": path, "headers": [absent]}, "route": _action(upstream)}
        for path in upstream.paths or ("/",)
    ]


def _action(upstream: UpstreamConfig) -> Json:
    parts = urlsplit(upstream.url)
    action: Json = {
        "cluster": f"upstream_{upstream.name}",
        "timeout": "0s",  # a stream lasts as long as it lasts; silence is what ends it
        "host_rewrite_literal": parts.netloc,
    }
    if parts.path.rstrip("/"):
        action["regex_rewrite"] = {
            "pattern": {"regex": "^"},
            "substitution": parts.path.rstrip("/"),
        }
    return action


def _upstream_cluster(upstream: UpstreamConfig, envoy: EnvoyConfig) -> Json:
    parts = urlsplit(upstream.url)
    host = parts.hostname or ""
    is_tls = parts.scheme == "https"
    cluster = _cluster(f"upstream_{upstream.name}", host, parts.port or (443 if is_tls else 80))
    cluster["connect_timeout"] = f"{upstream.connect_timeout_s:g}s"
    most = {"max_connections": envoy.max_connections, "max_requests": envoy.max_connections}
    cluster["circuit_breakers"] = {
        "thresholds": [{**most, "max_pending_requests": envoy.max_connections, "max_retries": 0}]
    }
    if is_tls:
        ca = str(upstream.ca_file) if upstream.ca_file else SYSTEM_CA
        names = [{"san_type": "DNS", "matcher": {"exact": host}}]
        validation = {"trusted_ca": {"filename": ca}, "match_typed_subject_alt_names": names}
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": f"{TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": host,
                "common_tls_context": {"validation_context": validation},
            },
        }
    return cluster


def _gateway_cluster(name: str, envoy: EnvoyConfig, checks: ChecksConfig, port: int) -> Json:
    cluster = _cluster(name, envoy.gateway_host or checks.host, port)
    cluster["connect_timeout"] = f"{envoy.check_timeout_s:g}s"
    most = {"max_connections": envoy.max_connections, "max_requests": envoy.max_connections}
    cluster["circuit_breakers"] = {
        "thresholds": [{**most, "max_pending_requests": envoy.max_connections}]
    }
    return cluster


def _cluster(name: str, host: str, port: int) -> Json:
    is_address = host.replace(".", "").isdigit() or ":" in host
    endpoint = {"endpoint": {"address": _address(host, port)}}
    return {
        "name": name,
        "type": "STATIC" if is_address else "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _address(host: str, port: int) -> Json:
    return {"socket_address": {"address": host, "port_value": port}}


__all__ = ["NO_UPSTREAM", "envoy_bootstrap"]
