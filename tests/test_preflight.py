"""What a start would fail on is told in a line before there is any process, by serve and doctor."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from gateway.cli import main
from gateway.commands.doctor import doctor
from gateway.commands.serve import serve
from gateway.errors import UsageError
from gateway.preflight import check_start, faults
from gateway.settings_file import load_settings
from tests.stores.test_opening import certify

POLICY = Path(__file__).resolve().parents[1] / "policies" / "enforce"
UPSTREAM = "http://127.0.0.1:9"


def wrong_settings(folder: Path) -> dict[str, tuple[dict[str, Any], str]]:
    """By id: what is set wrong, and how what is said of it begins."""
    file = folder / "good.jsonl"
    file.write_text('{"account_id": "acc_1"}\n')
    absent = folder / "absent"
    return {
        "accounts": ({"accounts": str(absent)}, f"accounts: {absent}: no such file"),
        "accounts a folder": ({"accounts": str(folder)}, f"accounts: {folder} is a folder"),
        "tls": (
            {"tls_cert": str(absent), "tls_key": str(file)},
            f"tls_cert: {absent}: no such file",
        ),
        "tls that is none": (
            {"tls_cert": str(file), "tls_key": str(file)},
            f"tls_cert: {file} and tls_key {file} cannot be used",
        ),
        "family": (
            {"linker": {"families": ["turns", "turnz"]}},
            "linker.families: 'turnz' is no family of evidence; did you mean turns?",
        ),
        "log a file": ({"log": {"dir": str(file)}}, f"log.dir: {file} is a file, not a folder"),
        "log in a file": ({"log": {"dir": str(file / "log")}}, f"log.dir: {file} is a file"),
        "data a file": ({"data_dir": str(file)}, f"data_dir: {file} is a file, not a folder"),
        "linking key": (
            {"linker": {"key_file": str(absent)}},
            f"linker.key_file: {absent}: the secret cannot be read",
        ),
        "provider's secret": (
            {
                "verification": {
                    "public_url": "https://v.example.org",
                    "providers": [
                        {
                            "name": "idp",
                            "title": "An identity check",
                            "levels": ["identity"],
                            "start_url": "https://idp.example.org/?s={session}",
                            "secret_file": str(absent),
                        }
                    ],
                }
            },
            f"verification.providers[0].secret_file: {absent}: the secret cannot be read",
        ),
    }


IDS = (
    *("accounts", "accounts a folder", "tls", "tls that is none", "family", "log a file"),
    *("log in a file", "data a file", "linking key", "provider's secret"),
)


def config_with(folder: Path, changes: dict[str, Any]) -> Path:
    config = folder / "config.yaml"
    sound = {
        "upstreams": [{"url": UPSTREAM}],
        "policy": str(POLICY),
        "data_dir": str(folder / "data"),
        "port": 0,
        "admin_port": 0,
    }
    config.write_text(yaml.safe_dump({**sound, **changes}))
    return config


@pytest.mark.parametrize("name", IDS)
def test_serve_ends_with_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    changes, said = wrong_settings(tmp_path)[name]
    config = config_with(tmp_path, changes)
    with pytest.raises(UsageError) as raised:
        check_start(load_settings(config, {}))
    assert str(raised.value).startswith(said)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", IDS)
def test_the_doctor_calls_bad_what_serve_refuses(tmp_path: Path, name: str) -> None:
    changes, said = wrong_settings(tmp_path)[name]
    config = config_with(tmp_path, changes)
    run = CliRunner().invoke(main, ["doctor", "--config", str(config)])
    assert run.exit_code == 1
    assert f"bad      settings: {said}" in run.stdout


def test_every_wrong_setting_is_told_at_once(tmp_path: Path) -> None:
    wrong = wrong_settings(tmp_path)
    config = config_with(tmp_path, wrong["accounts"][0] | wrong["family"][0])
    with pytest.raises(UsageError) as raised:
        check_start(load_settings(config, {}))
    assert len(str(raised.value).splitlines()) == 2


def test_an_upstreams_key_that_is_not_there_ends_it_too(tmp_path: Path) -> None:
    upstream = {"url": UPSTREAM, "api_key_file": str(tmp_path / "absent")}
    config = config_with(tmp_path, {"upstreams": [upstream]})
    with pytest.raises(UsageError, match=r"^upstreams: .*absent: the secret cannot be read"):
        check_start(load_settings(config, {}))


def test_a_sound_pair_and_key_of_another_pair(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        certify(tmp_path / name)
    for key, is_sound in (("one", True), ("other", False)):
        pair = {
            "tls_cert": str(tmp_path / "one" / "cert.pem"),
            "tls_key": str(tmp_path / key / "key.pem"),
        }
        settings = load_settings(config_with(tmp_path, pair), {})
        assert (list(faults(settings)) == []) == is_sound


def test_the_command_says_it_at_once_and_without_a_traceback(tmp_path: Path) -> None:
    config = config_with(tmp_path, {"linker": {"families": ["nosuch"]}})
    started_s = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-m", "hydragate.cli", "serve", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("hydragate: linker.families: 'nosuch' is no family of evidence")
    assert len(run.stderr.splitlines()) == 1
    assert time.monotonic() - started_s < 20  # workers were tried for half a minute before


def test_the_doctor_takes_every_flag_of_serve() -> None:
    flags = {option for parameter in serve.params for option in parameter.opts}
    assert flags <= {option for parameter in doctor.params for option in parameter.opts}


@pytest.mark.parametrize("admin", ["foo", "http://", "localhost:9090", "http://host:port"])
def test_an_admin_address_that_is_none_is_wrong_usage(tmp_path: Path, admin: str) -> None:
    token = tmp_path / "token"
    token.write_text("t" * 32)
    words = ["mode", "--admin", admin, "--token-file", str(token)]
    run = CliRunner().invoke(main, words)
    assert run.exit_code == 2
    said = f"hydragate: --admin: '{admin}' is no http(s) URL, such as http://127.0.0.1:9090\n"
    assert run.stderr == said
