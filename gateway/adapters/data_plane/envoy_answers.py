"""What Envoy answers of its own accord, in the caller's dialect (CONTRACTS §5): the model API
failed or came late, or the gateway could not be asked.

Source: Envoy 1.40, api/envoy/config/core/v3/base.proto (headers), local_reply_config of the HTTP
connection manager, response flags of the access log.
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

ANTHROPIC_PATHS = ("/v1/messages", "/v1/complete")
FAILED = "The model API failed."
LATE = "The model API did not answer in time."
UNDECIDED = "The gateway cannot decide right now."
_FAILED_FLAGS = ("UF", "UC", "UH", "UO", "UR", "URX", "LR", "NR", "NC", "UPE")
_LATE_FLAGS = ("UT", "SI", "UMSDR")


def header(name: str, value: str) -> Json:
    return {
        "header": {"key": name, "value": value},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }


def own_errors() -> list[Json]:
    """Mappers for the connection manager, the first that fits."""
    failed = {"response_flag_filter": {"flags": list(_FAILED_FLAGS)}}
    late = {"response_flag_filter": {"flags": list(_LATE_FLAGS)}}
    undecided = {
        "and_filter": {
            "filters": [
                {"response_flag_filter": {"flags": ["UAEX"]}},
                {"status_code_filter": {"comparison": _equals(503)}},
            ]
        }
    }
    return [
        *_mapped(undecided, 503, "gateway_unavailable", UNDECIDED, retry=True),
        *_mapped(late, 504, "upstream_timeout", LATE),
        *_mapped(failed, 502, "upstream_unavailable", FAILED),
    ]


def _mapped(when: Json, status: int, code: str, text: str, *, retry: bool = False) -> list[Json]:
    prefixes = f"({'|'.join(ANTHROPIC_PATHS)}).*"
    path = {"name": ":path", "string_match": {"safe_regex": {"regex": prefixes}}}
    is_anthropic = {"and_filter": {"filters": [when, {"header_filter": {"header": path}}]}}
    kind = "timeout_error" if status == 504 else "api_error"
    added = [header("retry-after", "1")] if retry else []
    return [
        {
            "filter": condition,
            "status_code": status,
            "headers_to_add": added,
            "body_format_override": {
                "text_format_source": {"inline_string": body},
                "content_type": "application/json",
            },
        }
        for condition, body in (
            (is_anthropic, anthropic_error(kind, code, text)),
            (when, openai_error("server_error", code, text)),
        )
    ]


def _equals(status: int) -> Json:
    return {"op": "EQ", "value": {"default_value": status, "runtime_key": "hydragate.none"}}


def openai_error(kind: str, code: str, text: str) -> str:
    return f'{{"error":{{"message":"{text}","type":"{kind}","param":null,"code":"{code}"}}}}'


def anthropic_error(kind: str, code: str, text: str) -> str:
    error = f'{{"type":"{kind}","message":"{text}","code":"{code}"}}'
    return f'{{"type":"error","error":{error}}}'
