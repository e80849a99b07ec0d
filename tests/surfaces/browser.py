"""Chromium without a driver: DevTools over a pair of pipes, keyboard in, pixels and names out.

Source: the DevTools protocol, and `--remote-debugging-pipe` (file descriptors 3 and 4, messages
ended by a zero byte).
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 60.0


chromium = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    chromium is None, reason="needs a browser: apt-get install chromium"
)


class BrowserError(AssertionError):
    """The browser said that it could not."""


class Browser:
    """One page. Scripts of pages are off unless said otherwise."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._buffer = b""
        self._number = 0
        self._session = ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "DOM", "Accessibility"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setScriptExecutionDisabled", value=True)

    def call(self, method: str, **params: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write_fd, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                if "error" in told:
                    raise BrowserError(str(told["error"]))
                return told["result"]

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=True,
        )

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.settle()

    def settle(self) -> None:
        """Until what is loading has loaded."""
        deadline = time.monotonic() + TIMEOUT_S
        quiet = 0
        while quiet < 3:
            assert time.monotonic() < deadline, "the page never came to rest"
            time.sleep(0.1)
            tree = self.call("Page.getFrameTree")["frameTree"]["frame"]
            is_done = bool(tree["url"]) and self._is_painted()
            quiet = quiet + 1 if is_done else 0

    def _is_painted(self) -> bool:
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        try:
            found = self.call("DOM.querySelector", nodeId=root, selector="main")
        except BrowserError:  # another document has come in between
            return False
        return bool(found["nodeId"])

    @property
    def url(self) -> str:
        found: str = self.call("Page.getFrameTree")["frameTree"]["frame"]["url"]
        return found

    def key(self, name: str, code: int, text: str = "") -> None:
        common = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def tab(self) -> None:
        self.key("Tab", 9)

    def enter(self) -> None:
        self.key("Enter", 13, "\r")
        self.settle()

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def tab_to(self, name: str) -> None:
        """By keyboard, to what a screen reader calls so. Raises AssertionError."""
        seen = []
        for _ in range(30):
            self.tab()
            focused = self.focused()
            if focused == name:
                return
            seen.append(focused)
        raise AssertionError(f"{name} cannot be reached by keyboard, only {seen}")

    def focused(self) -> str:
        for node in self._tree():
            flags = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
            if flags.get("focused") and node["role"]["value"] != "RootWebArea":
                return str(node.get("name", {}).get("value", ""))
        return ""

    def named(self, role: str) -> list[str]:
        """Accessible names of everything in that role."""
        return [
            str(node.get("name", {}).get("value", ""))
            for node in self._tree()
            if node.get("role", {}).get("value") == role
        ]

    def text(self) -> str:
        return " ".join(self.named("StaticText"))

    def _tree(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.call("Accessibility.getFullAXTree")["nodes"]
        return [node for node in nodes if not node.get("ignored")]

    def content_width(self) -> int:
        return int(self.call("Page.getLayoutMetrics")["cssContentSize"]["width"])

    def screenshot(self, path: Path) -> None:
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + TIMEOUT_S
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            ready, _, _ = select.select([self._read_fd], [], [], max(0, left))
            assert ready, "the browser does not answer"
            self._buffer += os.read(self._read_fd, 1 << 16)
        message, _, self._buffer = self._buffer.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        return told


@contextmanager
def browser(binary: str, profile: Path) -> Iterator[Browser]:
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def place() -> None:
        low, high = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(low, 3)
        os.dup2(high, 4)

    process = subprocess.Popen(
        [
            *(binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--remote-debugging-pipe", "--disable-dev-shm-usage", "--hide-scrollbars"),
            *("--disable-extensions", "--disable-background-networking"),
            f"--user-data-dir={profile}",
        ],
        preexec_fn=place,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(ours_in, ours_out)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
