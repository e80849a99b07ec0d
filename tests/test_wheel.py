"""The wheel: what is in it, and that it lives beside a user's own folder `gateway`."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import gateway

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    kept = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, kept)):
        origin, target = ROOT / name, source / name
        if not os.path.lexists(origin):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_symlink():
            target.symlink_to(os.readlink(origin))
        else:
            target.write_bytes(origin.read_bytes())
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"),
            *("--disable-pip-version-check", "-w", str(folder), str(source)),
        ],
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_what_the_command_needs_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "hydragate/cli.py",
        "hydragate/py.typed",
        "hydragate/stores/lua/charge.lua",
        "hydragate/adapters/data_plane/answer.lua",
        "hydragate/adapters/data_plane/envoy.lua",
        "hydragate/adapters/data_plane/nginx.lua",
        "hydragate/policies/enforce/policy.yaml",
        "hydragate/policies/observe/policy.yaml",
        "hydragate/policies/schema.json",
        "hydragate/loadtests/standin/server.py",
        "hydragate/loadtests/demo/run.py",
        "hydragate/loadtests/policies/baseline/policy.yaml",
        "hydragate/loadtests/report/report.html",
        "hydragate/loadtests/worlds/fitted/arrivals.json",
        "hydragate/loadtests/worlds/fitted/lengths.json",
    ):
        assert needed in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"hydragate"}


def test_it_does_not_meet_a_users_own_folder_gateway(wheel: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / "__init__.py").write_text("MINE = True\n")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "app.py").write_text(
        "import gateway, hydragate, hydragate.engine, hydragate.loadtests.standin.server\n"
        "assert gateway.MINE\n"
        "assert hydragate.__file__.startswith(__import__('os').environ['SITE'])\n"
        "print(hydragate.__version__)\n"
    )
    said = subprocess.run(
        [sys.executable, "app.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "SITE": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stderr == ""
    assert said.stdout.strip() == gateway.__version__
