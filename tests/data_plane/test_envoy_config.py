"""The bootstrap by itself: accepted by a real Envoy for every kind of settings, and complete."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli import main
from tests.stores.test_opening import certify

from .planes import tool

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "envoy" / "settings.yaml"
BASE: dict[str, Any] = {"policy": "policies/observe", "checks": {}}


def bootstrap_of(config: Path) -> str:
    ran = CliRunner().invoke(main, ["envoy-config", "--config", str(config)])
    assert ran.exit_code == 0, ran.output
    return ran.output


def complaint_of_envoy(folder: Path, text: str) -> str:
    """What a real Envoy says against this bootstrap; empty where it would start with it."""
    path = folder / "envoy.yaml"
    path.write_text(text)
    said = subprocess.run(
        [tool("envoy"), "--mode", "validate", "-c", str(path), "--use-dynamic-base-id"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return "" if said.returncode == 0 else said.stderr[-2000:] or "it ended without a word"


def test_the_shipped_example_is_a_whole_and_valid_configuration(tmp_path: Path) -> None:
    text = bootstrap_of(SHIPPED)
    certify(tmp_path)  # the machine may have no bundle of authorities
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    assert bundle in text
    assert complaint_of_envoy(tmp_path, text.replace(bundle, str(tmp_path / "cert.pem"))) == ""
    clusters = yaml.safe_load(text)["static_resources"]["clusters"]
    assert {c["name"] for c in clusters} == {
        *("upstream_model-api", "hydragate_nowhere", "hydragate_checks", "hydragate_reports"),
    }


@pytest.mark.parametrize(
    "upstreams",
    [
        [{"url": "http://127.0.0.1:8000/base"}],
        [{"name": "a", "url": "http://model.example.com", "paths": ["/v1/messages"]},
         {"name": "b", "url": "http://[2001:db8::1]:8080", "models": ["x-*"]}],
    ],
    ids=["a path before it", "two, one by IPv6"],
)  # fmt: skip
@pytest.mark.parametrize("is_open", [False, True])
def test_envoy_accepts_what_any_settings_give(
    tmp_path: Path, upstreams: list[dict[str, Any]], is_open: bool
) -> None:
    config = tmp_path / "config.yaml"
    settings = {**BASE, "upstreams": upstreams, "envoy": {"failure_mode_allow": is_open}}
    config.write_text(yaml.safe_dump(settings))
    assert complaint_of_envoy(tmp_path, bootstrap_of(config)) == ""


def test_envoy_accepts_a_proxy_header_before_tls_from_those_who_may_say_it(tmp_path: Path) -> None:
    certify(tmp_path)
    config = tmp_path / "config.yaml"
    pair = {"tls_cert": str(tmp_path / "cert.pem"), "tls_key": str(tmp_path / "key.pem")}
    settings = {
        **BASE,
        "upstreams": [{"url": "http://127.0.0.1:8000"}],
        "trusted_proxies": ["192.0.2.0/24", "2001:db8::/32"],
        "envoy": {"proxy_protocol": True, **pair},
    }
    config.write_text(yaml.safe_dump(settings))
    text = bootstrap_of(config)
    assert complaint_of_envoy(tmp_path, text) == ""
    (listener,) = yaml.safe_load(text)["static_resources"]["listeners"]
    names = [one["name"].rpartition(".")[2] for one in listener["listener_filters"]]
    assert names == ["proxy_protocol", "tls_inspector"]


def test_a_proxy_header_needs_somebody_who_may_say_it(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    upstreams = [{"url": "http://127.0.0.1:8000"}]
    config.write_text(
        yaml.safe_dump({**BASE, "upstreams": upstreams, "envoy": {"proxy_protocol": True}})
    )
    ran = CliRunner().invoke(main, ["envoy-config", "--config", str(config)])
    assert ran.exit_code == 2
    assert "proxy_protocol needs trusted_proxies" in ran.output


def test_envoy_does_complain_of_what_it_cannot_use(tmp_path: Path) -> None:
    assert "no_such_field" in complaint_of_envoy(tmp_path, "{no_such_field: 1}")


def test_no_key_of_the_operators_is_in_it(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("sk-of-the-operator")
    config = tmp_path / "config.yaml"
    upstream = {"url": "http://127.0.0.1:8000", "api_key_file": str(key)}
    config.write_text(yaml.safe_dump({**BASE, "upstreams": [upstream]}))
    text = bootstrap_of(config)
    assert "sk-of-the-operator" not in text
    assert complaint_of_envoy(tmp_path, text) == ""


def test_without_a_check_port_it_says_what_to_add(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"policy": "p", "upstreams": [{"url": "http://127.0.0.1:1"}]}))
    ran = CliRunner().invoke(main, ["envoy-config", "--config", str(config)])
    assert ran.exit_code == 2
    assert "add `checks: {}`" in ran.output


def test_envoy_takes_over_what_the_gateway_calls_a_body() -> None:
    bootstrap = yaml.safe_load(bootstrap_of(SHIPPED))
    chain = bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]
    filters = chain["filters"][0]["typed_config"]["http_filters"]
    asking = next(one["typed_config"] for one in filters if "ext_authz" in one["name"])
    taken = asking["http_service"]["authorization_response"]["allowed_upstream_headers"]
    assert {"exact": "content-type"} in taken["patterns"]
