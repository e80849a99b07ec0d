"""At start: a warning where any made-up key would be adopted, and no question where none would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.loadtests.processes import gateway, standin
from tests.waiting import wait_until

from .conftest import GENEROUS, ask_admin, standin_requests, write_policy
from .operator import run
from .raw_http import chat, post

ADOPTS = GENEROUS.replace("unknown_credentials: refuse", "unknown_credentials: adopt")
WARNING = "EVERY KEY THAT ANYONE MAKES UP"


def test_an_open_upstream_is_warned_of_where_unknown_keys_are_adopted(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy", ADOPTS)
    with standin("--time-scale", "0") as upstream:
        options = ("--upstream", upstream, "--policy", str(policy))
        with gateway(tmp_path / "data", *options) as server:
            assert wait_until(lambda: any(WARNING in line for line in server.output))
            assert post(server.url, chat(), key="sk-made-up").status == 200  # it was right
        assert sum(WARNING in line for line in server.output) == 1


def test_a_policy_that_begins_to_adopt_raises_the_question_once(tmp_path: Path) -> None:
    policy = write_policy(tmp_path / "policy", GENEROUS)
    with standin("--time-scale", "0") as upstream:
        options = ("--upstream", upstream, "--policy", str(policy))
        with gateway(tmp_path / "data", *options) as server:
            assert post(server.url, chat(), key="sk-made-up").status == 401
            assert not any(WARNING in line for line in server.output)
            for text in (ADOPTS, GENEROUS, ADOPTS):
                write_policy(policy, text)
                answer = ask_admin(server, "POST", "/api/policy/reload")
                assert answer == (200, {"problems": []})
            assert wait_until(lambda: any(WARNING in line for line in server.output))
        assert sum(WARNING in line for line in server.output) == 1


NOT_ACTIVE = (
    ADOPTS
    + """
rules:
  - name: imported-only
    why: so that a test sees whether an account is still an adopted one
    mode: enforce
    when: {status: active}
    then: {deny: {}}
"""
)


def test_an_unban_gives_back_an_adopted_account_however_often_it_was_banned(
    tmp_path: Path,
) -> None:
    policy = write_policy(tmp_path / "policy", NOT_ACTIVE)
    with standin("--time-scale", "0") as upstream:
        options = ("--upstream", upstream, "--policy", str(policy))
        with gateway(tmp_path / "data", *options) as server:

            def status() -> int:
                return post(server.url, chat(), key="sk-made-up").status

            def operate(verb: str) -> dict[str, object]:
                result = run(server, "accounts", verb, account_id)
                assert result.exit_code == 0, result.output
                return dict(json.loads(result.stdout))

            assert status() == 200
            assert wait_until(
                lambda: bool(ask_admin(server, "GET", "/api/accounts")[1]["accounts"])
            )
            (found,) = ask_admin(server, "GET", "/api/accounts")[1]["accounts"]
            account_id = found["account_id"]
            assert operate("unban")["version"] == found["version"], "nothing was to be undone"
            assert operate("ban")["status"] == "banned"
            assert operate("ban")["status"] == "banned"
            assert status() == 403
            assert operate("unban")["status"] == "adopted"
            assert status() == 200
    said = [line for line in server.output if "audit account.unban" in line]
    assert len(said) == 1
    assert f"{account_id} status=adopted" in said[0]


@pytest.mark.parametrize(
    ("policy", "settings"),
    [
        pytest.param(GENEROUS, "upstreams: [{{url: '{url}'}}]", id="unknown keys are refused"),
        pytest.param(
            ADOPTS, "probe_upstreams: false\nupstreams: [{{url: '{url}'}}]", id="switched off"
        ),
        pytest.param(
            ADOPTS, "upstreams: [{{url: '{url}', api_key_file: '{key}'}}]", id="our own key"
        ),
    ],
)
def test_nobody_is_asked_where_the_answer_changes_nothing(
    tmp_path: Path, policy: str, settings: str
) -> None:
    key = tmp_path / "key"
    key.write_text("sk-ours-0123456789\n")
    key.chmod(0o600)
    config = tmp_path / "config.yaml"
    with standin("--time-scale", "0") as upstream:
        config.write_text(settings.format(url=upstream, key=key) + "\n")
        folder = write_policy(tmp_path / "policy", policy)
        options = ("--config", str(config), "--policy", str(folder))
        with gateway(tmp_path / "data", *options) as server:
            assert post(server.url, chat(), key="sk-made-up").status in (200, 401)
        asked = {one["path"] for one in standin_requests(upstream)}
    assert "/v1/models" not in asked
    assert not any(WARNING in line for line in server.output)
