"""The process's own log: one JSON object a line, or plain text on a terminal; no secrets.

A message is one line whatever is in it. What looks like a credential is cut out, also where a
library puts it into an error.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time

import orjson

MAX_MESSAGE = 4_000
REPEAT_S = 60.0
_SECRETS = re.compile(
    r"(?i)((?:authorization|api-key|password|secret|token)"
    r"(?:[\"']\s*,|[\"']?\s*[:=])\s*(?:b?[\"'])?(?:(?:bearer|basic)\s+)?)[^\s,;}\"')]+"
    r"|((?:bearer|basic)\s+)\S+"
    r"|(sk-[a-z0-9_-]{6})[a-z0-9_-]+"
    r"|(://[^/\s:@]*:)[^/\s@]+(?=@)"
)


def redact(text: str) -> str:
    """The text with what looks like a credential cut out."""
    return _SECRETS.sub(lambda match: f"{next(filter(None, match.groups()), '')}[redacted]", text)


class LineFormatter(logging.Formatter):
    """JSON lines for machines, a short line for people."""

    def __init__(self, process: str, *, as_json: bool) -> None:
        super().__init__()
        self._process = process
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        message = redact(message)[:MAX_MESSAGE]
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        stamp += f".{int(record.msecs):03d}Z"
        if not self._as_json:
            one_line = message.replace("\r", "\\r").replace("\n", "\\n")
            return f"{stamp} {record.levelname.lower()} {self._process} {one_line}"
        fields = {
            "time": stamp,
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": message,
        }
        return orjson.dumps(fields).decode()


def _is_news(record: logging.LogRecord) -> bool:
    """Not the traceback of each exchange that a drain cuts off at its deadline: uvicorn says in one
    line how many there were."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError)


def set_up_logging(process: str, *, level: int = logging.INFO) -> None:
    """Send everything to stderr; uvicorn speaks only when something is wrong."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process, as_json=not sys.stderr.isatty()))
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).handlers.clear()
        logging.getLogger(noisy).propagate = True
        logging.getLogger(noisy).setLevel(logging.WARNING)


class Occasionally:
    """Lets a complaint through once a minute and says how often it was held back."""

    def __init__(self, logger: logging.Logger, every_s: float = REPEAT_S) -> None:
        self._logger = logger
        self._every_s = every_s
        self._next_s = 0.0
        self._held_back = 0

    def warn(self, message: str, error: Exception | None = None) -> None:
        """With an `error`, also where it was raised."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            self._held_back += 1
            return
        again = f" ({self._held_back} more like it)" if self._held_back else ""
        self._logger.warning("%s%s", message, again, exc_info=error)
        self._next_s, self._held_back = now_s + self._every_s, 0
