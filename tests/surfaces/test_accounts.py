"""`hydragate accounts` against a running gateway."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import pytest

from gateway.loadtests.processes import GatewayProcess
from tests.waiting import wait_until

from .conftest import ACCOUNTS, ask_admin
from .operator import data_dir, run
from .raw_http import chat, post

MANY = 2_300


@pytest.fixture
def crowd(server: GatewayProcess, tmp_path: Path) -> set[str]:
    """Accounts over three pages, imported; the ids of all there are."""
    names = {f"crowd_{number}" for number in range(MANY)}
    file = tmp_path / "crowd.jsonl"
    file.write_text("".join(json.dumps({"account_id": name}) + "\n" for name in names))
    assert f"{MANY} imported" in run(server, "accounts", "import", str(file)).output
    return names | {record["account_id"] for record in ACCOUNTS}


def test_the_list_goes_beyond_one_page_and_stops_where_it_is_told(
    server: GatewayProcess, crowd: set[str]
) -> None:
    listed = run(server, "accounts", "list", "--all").output.splitlines()
    assert {json.loads(line)["account_id"] for line in listed} == crowd
    for wanted in (1, 1_700):
        some = run(server, "accounts", "list", "--limit", str(wanted)).output.splitlines()
        assert len(some) == wanted
        assert {json.loads(line)["account_id"] for line in some} <= crowd


def test_the_api_says_where_the_next_page_begins(server: GatewayProcess, crowd: set[str]) -> None:
    found: set[str] = set()
    cursor: str | None = ""
    while cursor is not None:
        status, page = ask_admin(server, "GET", f"/api/accounts?limit=500{cursor}")
        assert status == 200
        found |= {account["account_id"] for account in page["accounts"]}
        cursor = None if page["next"] is None else f"&cursor={page['next']}"
    assert found == crowd
    assert ask_admin(server, "GET", "/api/accounts?cursor=made-up")[0] == 422


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tierr=scale", "tierr: no such field; did you mean tier?"),
        ("quotas.account-requests=5/min", "quotas.account-requests: no such field"),
    ],
)
def test_a_misspelt_field_is_refused_and_says_what_was_meant(
    server: GatewayProcess, change: str, said: str
) -> None:
    result = run(server, "accounts", "set", "acc_good", change)
    assert result.exit_code == 1
    assert said in result.output


def test_an_import_names_a_misspelt_field_once_and_goes_on(
    server: GatewayProcess, tmp_path: Path
) -> None:
    lines = [{"account_id": f"acc_typo_{n}", "teir": "scale", "note": 1} for n in range(3)]
    file = tmp_path / "typo.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = run(server, "accounts", "import", str(file))
    assert "3 imported" in result.output
    assert result.exit_code == 0
    assert f"{file}:1: warning: teir: no such field; did you mean tier? (ignored)" in result.stderr
    assert result.output.count("teir: no such field; did you mean tier?") == 1
    assert result.output.count("note: no such field") == 1


def test_a_key_that_an_import_takes_from_another_account_is_said_with_its_line(
    server: GatewayProcess, tmp_path: Path
) -> None:
    file = tmp_path / "accounts.jsonl"
    records = [{"account_id": name, "keys": ["sk-of-two-0123456789"]} for name in ("one", "two")]
    file.write_text("".join(json.dumps({**r, "key_ids": ["key_7"]}) + "\n" for r in records))
    result = run(server, "accounts", "import", str(file))
    assert "2 imported, 0 removed, 0 bad" in result.stdout
    assert result.exit_code == 0
    assert result.stderr == f"{file}:2: keys: warning: key_7 was one's, and is two's from now on\n"
    status, shown = ask_admin(server, "PUT", "/api/accounts/one", {**records[0]})
    assert status == 200
    ((key_id, former),) = shown["moved_keys"].items()
    assert (key_id.startswith("key_"), former) == (True, "two")
    assert "moved_keys" not in ask_admin(server, "PUT", "/api/accounts/one", records[0])[1]


IDLE = "quotas.acount-requests: limits nothing: the policy in force has no such limit"


def test_a_quota_of_a_limit_that_the_policy_has_not_is_kept_and_warned_of(
    server: GatewayProcess, tmp_path: Path
) -> None:
    ask_admin(server, "PUT", "/api/accounts/acc_quota", {})
    quotas = '{"acount-requests": "1/min", "account-requests": "5/min"}'
    result = run(server, "accounts", "set", "acc_quota", f"quotas={quotas}")
    assert result.exit_code == 0
    assert result.stderr == f"warning: {IDLE}; did you mean account-requests?\n"
    assert json.loads(result.stdout)["quotas"] == json.loads(quotas)
    file = tmp_path / "quotas.jsonl"
    file.write_text(f'{{"account_id": "acc_quota", "quotas": {quotas}}}\n' * 2)
    result = run(server, "accounts", "import", str(file))
    assert (result.exit_code, result.stdout) == (0, "2 imported, 0 removed, 0 bad\n")
    assert result.stderr == f"{file}:1: warning: {IDLE}; did you mean account-requests?\n"


@pytest.fixture
def half_bad(tmp_path: Path) -> Path:
    file = tmp_path / "half.jsonl"
    file.write_text('{"account_id": "acc_half"}\n{"account_id"\n{"account_id": 7}\n')
    return file


def test_an_import_with_bad_lines_says_which_and_what_it_did(
    server: GatewayProcess, half_bad: Path
) -> None:
    result = run(server, "accounts", "import", str(half_bad))
    assert result.exit_code == 1
    assert result.stdout == "1 imported, 0 removed, 2 bad\n"
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{half_bad}:2: is no JSON: ")
    assert second.startswith(f"{half_bad}:3: account_id: ")
    assert ask_admin(server, "DELETE", "/api/accounts/acc_half")[0] == 204


def test_a_whole_import_with_bad_lines_says_that_it_did_nothing(
    server: GatewayProcess, half_bad: Path
) -> None:
    result = run(server, "accounts", "import", "--whole", str(half_bad))
    assert result.exit_code == 1
    said = "nothing was imported or removed: --whole needs every line sound (2 bad)\n"
    assert result.stdout == said
    assert result.stderr.startswith(f"{half_bad}:2: is no JSON: ")
    assert ask_admin(server, "GET", "/api/accounts/acc_half")[0] == 404
    assert ask_admin(server, "GET", "/api/accounts/acc_good")[0] == 200


def test_an_id_that_no_decision_has_is_no_path(server: GatewayProcess) -> None:
    result = run(server, "explain", "../mode")
    assert result.exit_code == 1
    assert "no such decision" in result.output


def test_the_request_id_that_a_customer_reports_is_explained(server: GatewayProcess) -> None:
    answer = post(server.url, chat(), key="sk-nobody-has-this-one")
    decision_id = answer.headers["x-hydragate-decision"]
    request_id = answer.headers["x-request-id"]
    assert request_id == f"req_{decision_id}"
    assert wait_until(lambda: run(server, "explain", decision_id).exit_code == 0)
    result = run(server, "explain", request_id)
    assert result.stdout.startswith(f"Decision {decision_id} at "), result.output


def test_the_audit_says_what_was_changed_and_not_to_what(server: GatewayProcess) -> None:
    file_words = ("accounts", "set", "acc_audited", 'status="banned"', "tier=secret-tier")
    ask_admin(server, "PUT", "/api/accounts/acc_audited", {"keys": ["sk-audited-0123456789"]})
    assert run(server, *file_words).exit_code == 0
    patched = "audit account.patch acc_audited status=banned tier"
    assert wait_until(lambda: any(patched in line for line in server.output))
    said = [line for line in server.output if "acc_audited" in line]
    assert any("audit account.put acc_audited keys" in line for line in said)
    assert not any("secret-tier" in line or "sk-audited" in line for line in said)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("account.import", ("accounts", "import", "FILE")),
        ("account.patch", ("accounts", "set", "acc_noted", "tier=scale")),
        ("account.patch", ("accounts", "ban", "acc_noted")),
        ("account.unban", ("accounts", "unban", "acc_noted")),
        ("account.erase", ("accounts", "erase", "--yes", "acc_noted")),
        ("mode.set", ("mode", "normal")),
    ],
)
def test_the_audit_says_who_and_why_and_who_where_nobody_is_named(
    server: GatewayProcess, tmp_path: Path, action: str, words: tuple[str, ...]
) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text('{"account_id": "acc_noted"}\n')
    ask_admin(server, "PUT", "/api/accounts/acc_noted", {"status": "banned"})
    given = [str(file) if word == "FILE" else word for word in words]
    named = run(server, *given, "--by", "Łucja & Co", "--reason", "spam? #7 + more")
    assert named.exit_code == 0, named.output
    assert last_act(server) == (action, "Łucja & Co", "spam? #7 + more")
    ask_admin(server, "PUT", "/api/accounts/acc_noted", {"status": "banned"})
    assert run(server, *given).exit_code == 0
    assert last_act(server) == (action, getpass.getuser(), "")


def test_an_import_that_is_refused_is_noted_as_such(server: GatewayProcess, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text("no JSON\n")
    assert run(server, "accounts", "import", "--whole", str(file)).exit_code == 1
    assert audit(server)[-1]["outcome"] == "refused"


def last_act(server: GatewayProcess) -> tuple[str, str, str]:
    line = audit(server)[-1]
    return line["action"], line["by"], line["reason"]


def audit(server: GatewayProcess) -> list[dict[str, str]]:
    lines = (data_dir(server) / "audit.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_text_that_no_store_can_hold_is_422(server: GatewayProcess) -> None:
    for method in ("PUT", "PATCH"):
        for record in ({"email_domain": "\ud800"}, {"\ud800": 1}):
            status, said = ask_admin(server, method, "/api/accounts/acc_half", record)
            assert status == 422, said
    assert ask_admin(server, "GET", "/api/accounts/acc_half")[0] == 404
