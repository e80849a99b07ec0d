"""The README's tour, run as it is written, on ports of its own, and compared line by line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from gateway.loadtests.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- tour: (\w+) -->\n```console\n(.*?)```", re.DOTALL)
TIMEOUT_S = 120
WAIT = (
    "for i in $(seq 200); do curl -sf -o /dev/null http://127.0.0.1:{port}/{path} && break; "
    "sleep 0.1; done; sleep 0.5"
)


def commands_and_output(block: str) -> tuple[str, str]:
    """The lines typed (with their continuations), and what is printed below them."""
    typed, printed, is_continued = [], [], False
    for line in block.splitlines():
        if is_continued or line.startswith("$ "):
            typed.append(line if is_continued else line.removeprefix("$ "))
            is_continued = line.endswith("\\")
        else:
            printed.append(line)
    return "\n".join(typed), "\n".join(printed)


def pattern(expected: str) -> re.Pattern[str]:
    """`…` on a line of its own stands for any lines, within a line for anything."""
    parts = [
        ".*?" if line == "…" else re.escape(line).replace("…", "[^\n]*?")
        for line in expected.splitlines()
    ]
    return re.compile(r"\s*" + r"\s*".join(parts) + r"\s*", re.DOTALL)


def test_the_tour_prints_what_it_says(tmp_path: Path) -> None:
    ports = {name: str(free_port()) for name in ("8080", "9090", "9100")}
    text = (ROOT / "README.md").read_text()
    for port, free in ports.items():
        text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{free}")
        text = text.replace(f"--port {port}", f"--port {free}")
    blocks = [(name, *commands_and_output(block)) for name, block in BLOCK.findall(text)]
    assert [name for name, _, _ in blocks][:2] == ["install", "serve"]
    said = subprocess.run(
        ["bash", "-c", script(blocks, ports)],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "ADMIN": f"http://127.0.0.1:{ports['9090']}",
        },
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    outputs = dict(re.findall(r"@@begin (\w+)\n(.*?)@@end", said.stdout, re.DOTALL))
    for name, _, expected in blocks:
        assert pattern(expected).fullmatch(outputs[name]), (
            f"{name}: the README says\n{expected}\nand it printed\n{outputs[name]}\n{said.stderr}"
        )


def script(blocks: list[tuple[str, str, str]], ports: dict[str, str]) -> str:
    lines = ["trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT", f"ln -s {ROOT}/policies policies"]
    for name, typed, _ in blocks:
        if name == "install":  # it is installed: we are running in it
            typed = typed.replace("make install && export PATH=", "export KEPT=")
        if name == "serve":
            typed = typed.replace(
                "serve ", f"serve --port {ports['8080']} --admin-port {ports['9090']} "
            )
        typed = re.sub(r"(hydragate (?:accounts \w+|mode|explain))", r"\1 --admin $ADMIN", typed)
        lines += [f"echo '@@begin {name}'", typed]
        if name == "install":
            lines.append(WAIT.format(port=ports["9100"], path="standin/stats"))
        if name == "serve":
            lines.append(WAIT.format(port=ports["9090"], path="readyz"))
        lines += ["echo", "echo '@@end'"]
    return "\n".join(lines)
