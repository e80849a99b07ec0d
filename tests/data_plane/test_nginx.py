"""What only nginx's way of asking can get wrong."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.adapters.data_plane.lua import lua_source
from gateway.cli import main
from gateway.loadtests.processes import standin
from gateway.loadtests.servers.nginx import PLAIN, WITH_LUA
from gateway.loadtests.servers.ports import free_port
from tests.stores.test_opening import certify, tls_in_front_of
from tests.surfaces.conftest import BANNED_KEY, GENEROUS, GOOD_KEY, metric, standin_requests
from tests.surfaces.raw_http import chat, exchange, post
from tests.waiting import wait_for

from .planes import Plane, deciding, decisions, nginx, nginx_before
from .test_envoy import open_stream

SITES = pytest.mark.parametrize("site", [PLAIN, WITH_LUA])


@pytest.fixture(scope="module", params=[PLAIN, WITH_LUA])
def plane(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Plane]:
    folder = tmp_path_factory.mktemp("nginx")
    with (
        standin("--time-scale", "1") as paced,
        nginx(folder, paced, policy=GENEROUS, site=request.param, workers=2) as running,
    ):
        yield running


def test_a_caller_cannot_write_its_own_refusal(plane: Plane) -> None:
    forged = (("x-hydragate-answer", "AAAA"), ("x-hydragate-peer", "203.0.113.9"))
    answer = post(plane.url, chat(), key=BANNED_KEY, headers=forged)
    assert (answer.status, answer.json()["error"]["code"]) == (403, "access_denied")


@pytest.mark.parametrize("path", ["/.hydragate/auth_request", "/.hydragate/refusal"])
def test_the_check_cannot_be_called_from_outside(plane: Plane, path: str) -> None:
    assert post(plane.url, b"", key=GOOD_KEY, path=path).status in (403, 404)


def test_a_stream_comes_chunk_by_chunk_and_leaving_frees_the_lease(plane: Plane) -> None:
    with open_stream(plane.url) as sock:
        times: list[float] = []
        began = time.monotonic()
        while len(times) < 5:
            if b"data:" in sock.recv(4096):
                times.append(time.monotonic() - began)
        wait_for(lambda: metric(plane.server, "hydragate_pending") >= 1)
    assert times[-1] - times[0] > 0.03
    wait_for(lambda: metric(plane.server, "hydragate_pending") == 0)
    wait_for(lambda: [d for d in decisions(plane) if d["outcome"] == "client_left"])


@SITES
def test_an_upstream_that_is_away_is_a_502_in_the_callers_dialect(
    tmp_path: Path, site: str
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with nginx(tmp_path, away, policy=GENEROUS, site=site) as running:
        answer = post(running.url, chat(), key=GOOD_KEY)
        assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_unavailable")
        answer = post(running.url, chat(max_tokens=4), key=GOOD_KEY, path="/v1/messages")
        assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
        wait_for(lambda: [d for d in decisions(running) if d["outcome"] == "upstream_failed"])


@SITES
@pytest.mark.parametrize("is_open", [False, True])
def test_without_a_gateway_the_operator_says_what_happens(
    tmp_path: Path, upstream: str, is_open: bool, site: str
) -> None:
    edit = (("error_page 500 = @undecided", "error_page 500 = @unseen"),) if is_open else ()
    with (
        deciding(tmp_path, upstream, policy=GENEROUS) as running,
        nginx_before(running.config, upstream, site=site, edit=edit) as (url, _),
    ):
        assert post(url, chat(), key=GOOD_KEY).status == 200
        running.server.stop()
        for path in ("/v1/messages", "/v1/complete"):
            answer = post(url, chat(max_tokens=4), key=GOOD_KEY, path=path)
            assert is_open or answer.json()["type"] == "error", path
        answer = post(url, chat(), key=GOOD_KEY)
        if is_open:
            assert answer.status == 200
        else:
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.json()["error"]["code"] == "gateway_unavailable"


@SITES
@pytest.mark.parametrize("is_open", [False, True])
def test_what_the_gateway_cannot_read_never_passes_unseen(
    tmp_path: Path, site: str, is_open: bool
) -> None:
    """A banned caller with 130 headers was served where an outage of the gateway lets pass."""
    edit = (("error_page 500 = @undecided", "error_page 500 = @unseen"),) if is_open else ()
    with (
        standin("--time-scale", "0") as own,
        deciding(tmp_path, own, policy=GENEROUS) as running,
        nginx_before(running.config, own, site=site, edit=edit) as (url, _),
    ):
        many = tuple((f"x-{n}", "y") for n in range(130))
        assert post(url, chat(), key=BANNED_KEY, headers=many).status == 400
        assert standin_requests(own) == []
        # Names that the model API does not get: a long list of them is no outage either.
        long = tuple((f"x-forwarded-{n}", "y") for n in range(100))
        long += tuple((f"x-forwarded-{'n' * 7_800}-{n}", "y") for n in range(3))
        assert post(url, chat(), key=GOOD_KEY, headers=long).status == 200
        assert wait_for(lambda: decisions(running))[0]["verdict"] == "allow"


# ── with its Lua module ──────────────────────────────────────────────────────────────────────


def test_the_command_writes_the_lua_that_is_tested(tmp_path: Path) -> None:
    path = tmp_path / "hydragate.lua"
    assert CliRunner().invoke(main, ["nginx-lua", "--out", str(path)]).exit_code == 0
    assert path.read_text() == lua_source("nginx") == CliRunner().invoke(main, ["nginx-lua"]).output


def test_with_lua_who_leaves_a_stream_is_charged_for_what_came(tmp_path: Path) -> None:
    seen = b""
    with (
        standin("--time-scale", "1") as paced,
        nginx(tmp_path, paced, policy=GENEROUS, site=WITH_LUA) as running,
    ):
        with open_stream(running.url) as sock:
            while seen.count(b"data:") < 20:
                seen += sock.recv(4096)
        line = wait_for(lambda: decisions(running))[0]
    assert line["outcome"] == "client_left"
    assert 15 <= line["usage"][2] <= 60, "about one token an event"
    assert line["usage"][0] > 0


@pytest.mark.parametrize("length", ["with a length", "without"])
def test_with_lua_http2_is_decided_and_settled_alike(
    tmp_path: Path, upstream: str, length: str
) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "curl is missing: install it with `apt-get install curl`"
    with (
        deciding(tmp_path, upstream, policy=GENEROUS) as running,
        nginx_before(running.config, upstream, site=WITH_LUA, edit=(("8443;", "8443 http2;"),)) as (
            url,
            _,
        ),
    ):
        said = subprocess.run(
            [
                *(curl, "-s", "--http2-prior-knowledge", "-w", "\n%{http_version} %{http_code}"),
                *(
                    "-H",
                    f"authorization: Bearer {GOOD_KEY}",
                    "-H",
                    "content-type: application/json",
                ),
                *(("-H", "content-length:") if length == "without" else ()),
                *("-d", chat(stream=True, max_tokens=4).decode(), url + "/v1/chat/completions"),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        ).stdout
        assert said.endswith("\n2 200")
        assert "data: [DONE]" in said
        assert '"choices":[]' not in said
        line = wait_for(lambda: decisions(running))[0]
    assert line["usage"][2] == 4


def test_with_lua_the_gateway_chooses_the_upstream_and_its_key(
    tmp_path: Path, upstream: str
) -> None:
    key = tmp_path / "key"
    key.write_text("sk-of-the-operator")
    key.chmod(0o600)
    with standin("--time-scale", "0") as other:
        upstreams = [
            {"name": "upstream", "url": upstream, "models": ["large-*"]},
            {"name": "small", "url": other, "models": ["small-*"], "api_key_file": str(key)},
        ]
        small = f"upstream small {{ server {other.removeprefix('http://')}; }}\nlog_format"
        with (
            deciding(tmp_path, upstream, policy=GENEROUS, upstreams=upstreams) as running,
            nginx_before(
                running.config, upstream, site=WITH_LUA, edit=(("log_format", small),)
            ) as (url, _),
        ):
            assert post(url, chat(model="small-1"), key=GOOD_KEY).status == 200
            assert post(url, chat(model="large-1"), key=GOOD_KEY).status == 200
            nowhere = post(url, chat(model="other"), key=GOOD_KEY)
            assert (nowhere.status, nowhere.json()["error"]["code"]) == (
                502,
                "upstream_unavailable",
            )
        seen = standin_requests(other)
    assert [json.loads(one["body"])["model"] for one in seen] == ["small-1"]
    assert dict(seen[0]["headers"])["authorization"] == "Bearer sk-of-the-operator"
    assert GOOD_KEY not in str(seen)


@SITES
def test_nothing_of_ours_or_of_the_callers_address_reaches_the_model_api(
    tmp_path: Path, site: str
) -> None:
    claims = (
        ("x-forwarded-for", "203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
        ("proxy-authorization", "secret"),
        ("x-hydragate-splice", "0:1:x"),
        ("x-hydragate-upstream", "none"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/v1/other"),
        ("ocp-apim-subscription-key", "sk-of-somebody-else"),
        ("x-kept", "yes"),
    )
    with (
        standin("--time-scale", "0") as own,
        nginx(tmp_path, own, policy=GENEROUS, site=site) as running,
    ):
        assert post(running.url, chat(), key=GOOD_KEY, headers=claims).status == 200
        names = {name for name, _ in standin_requests(own)[0]["headers"]}
    assert "x-kept" in names
    gone = ("x-forwarded", "x-real", "x-hydragate", "proxy", "x-http", "x-original", "ocp")
    assert not [n for n in names if n.startswith(gone)]


@pytest.mark.parametrize(
    ("framing", "reason"),
    [
        ("transfer-encoding: chunked", "length_required"),
        ("content-length: 5\r\ncontent-encoding: gzip", "unsupported_encoding"),
    ],
)
def test_without_lua_a_body_whose_tokens_cannot_be_told_is_refused(
    tmp_path: Path, framing: str, reason: str
) -> None:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {GOOD_KEY}\r\n"
    with (
        standin("--time-scale", "0") as own,
        nginx(tmp_path, own, policy=GENEROUS) as running,
    ):
        answer = exchange(running.url, f"{head}{framing}\r\n\r\n0\r\n\r\n".encode())
        assert (answer.status, answer.json()["error"]["code"]) == (400, reason)
        assert standin_requests(own) == []


@pytest.mark.parametrize("name", ["localhost", "somebody-else.example"])
async def test_with_lua_an_upstream_by_https_is_the_one_that_its_certificate_names(
    tmp_path: Path, upstream: str, name: str
) -> None:
    certify(tmp_path)
    async with tls_in_front_of(int(upstream.rpartition(":")[2]), tmp_path) as port:
        edit = (
            ("default 127.0.0.1:8000;", f"default {name};"),
            ("http://$hydragate_upstream", "https://$hydragate_upstream"),
            ("#proxy_ssl", "proxy_ssl"),
            ("/etc/ssl/certs/ca-certificates.crt", str(tmp_path / "cert.pem")),
        )

        def answered() -> int:
            away = f"http://127.0.0.1:{port}"
            with (
                deciding(tmp_path, upstream, policy=GENEROUS) as running,
                nginx_before(running.config, away, site=WITH_LUA, edit=edit) as (url, _),
            ):
                return post(url, chat(), key=GOOD_KEY).status

        assert await asyncio.to_thread(answered) == (200 if name == "localhost" else 502)
