"""Settings that cannot be used are named where they stand, with what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.errors import UsageError
from gateway.settings_file import load_settings

SOUND = "policy: policies/observe\nupstreams: [{url: 'https://api.example.com'}]\n"
ONE_UPSTREAM = "upstreams:\n  - url: https://api.example.com\n"
MISTAKES = {
    "at the top": ("polcy: x\n" + ONE_UPSTREAM, "1: polcy: no such setting; did you mean policy?"),
    "in a group": (
        SOUND + "linker: {tiks: 3}",
        "3: linker.tiks: no such setting; did you mean tick_s?",
    ),
    "in a list": (
        "policy: x\n" + ONE_UPSTREAM + "    header_timeout: 3\n",
        "4: upstreams[0].header_timeout: no such setting; did you mean header_timeout_s?",
    ),
    "far from everything": (SOUND + "zzzzzz: 1", "3: zzzzzz: no such setting"),
    "a bad value in a list": (
        "policy: x\nupstreams:\n  - url: foo\n",
        "3: upstreams[0].url: 'foo' is no http(s) URL, such as https://api.example.com",
    ),
    "no list": ("policy: x\nupstreams: {url: foo}\n", "2: upstreams: must be a list"),
    "a group that does not hold together": (
        SOUND + "linker: {previous_key_file: x}",
        "3: linker: previous_key_file goes with key_file, the key that follows it",
    ),
    "a setting that comes twice": (
        SOUND + "port: 1\nport: 2\n",
        "4: port: comes twice, first in line 3",
    ),
    "a setting that comes twice in a group": (
        SOUND + "log: {keep: 1, keep: 2}",
        "3: log.keep: comes twice, first in line 3",
    ),
    "no YAML": (SOUND + "\tport: 1", "3: is no YAML: found character that cannot start any token"),
}


def complaint_of(text: str, folder: Path, **flags: Any) -> str:
    config = folder / "config.yaml"
    config.write_text(text)
    with pytest.raises(UsageError) as raised:
        load_settings(config, flags)
    return str(raised.value)


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_once_and_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    assert complaint_of(text, tmp_path) == f"{tmp_path}/config.yaml:{said}"


def test_what_is_missing_is_told_beside_what_is_bad(tmp_path: Path) -> None:
    said = complaint_of("upstreams: [{url: foo}]", tmp_path).splitlines()
    assert (
        f"{tmp_path}/config.yaml: policy: must be set (--policy, or in the --config file)" in said
    )
    assert len(said) == 2


def test_a_bad_flag_is_not_laid_at_the_files_door(tmp_path: Path) -> None:
    said = complaint_of(SOUND, tmp_path, upstreams=[{"url": "foo"}], admin_port=-1)
    assert "--upstream: 'foo' is no http(s) URL, such as https://api.example.com" in said
    assert "--admin-port: " in said
    assert "config.yaml" not in said


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.example.com/v1", "https://api.example.com"),
        ("https://api.example.com/v1/", "https://api.example.com"),
        ("https://api.example.com/openai/v1", "https://api.example.com/openai"),
        ("https://api.example.com/v1/chat/completions", "https://api.example.com"),
    ],
)
def test_a_url_with_what_every_call_brings_along_is_refused_with_the_right_one(
    url: str, base: str, tmp_path: Path
) -> None:
    said = complaint_of(SOUND, tmp_path, upstreams=[{"url": url}])
    assert said.startswith("--upstream: ")
    assert said.endswith(f"/v1/… and find nothing; write {base}")


@pytest.mark.parametrize(
    "upstream",
    [
        {"url": "https://api.example.com"},
        {"url": "https://api.example.com/v1beta"},
        {"url": "https://api.example.com/v1/account/gateway"},
        {"url": "https://api.example.com/v1", "paths": ["/chat/"]},
    ],
    ids=["host", "another version", "inside", "said to be meant"],
)
def test_other_paths_in_a_url_are_taken(upstream: dict[str, Any]) -> None:
    settings = load_settings(None, {"upstreams": [upstream], "policy": "policies/observe"})
    assert settings.upstreams[0].url == upstream["url"]


@pytest.mark.parametrize("paths", [["/v1/chat/"], ["/v1"], ["/"], ["/chat/", "/v1/messages"]])
def test_paths_that_begin_with_the_version_do_not_excuse_it(
    paths: list[str], tmp_path: Path
) -> None:
    upstream = {"url": "https://api.example.com/v1", "paths": paths}
    assert "write https://api.example.com" in complaint_of(SOUND, tmp_path, upstreams=[upstream])


@pytest.mark.parametrize("url", ["http://host:port", "http://host:70000", "http://[::1"])
def test_a_url_that_cannot_be_taken_apart_is_refused(url: str, tmp_path: Path) -> None:
    assert complaint_of(SOUND, tmp_path, upstreams=[{"url": url}]).startswith("--upstream: ")
