"""The guard as middleware around a forwarder, for uvicorn; configured by the environment."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from gateway.adapters.forward import Forwarder, Target
from gateway.adapters.guard import Guard
from gateway.adapters.reading import GuardConfig
from gateway.adapters.upstream import HttpUpstream, UpstreamSettings
from gateway.app import create_engine

_parts = urlsplit(os.environ["TABLE_UPSTREAM"])
_upstream = HttpUpstream(
    UpstreamSettings(scheme="http", host=_parts.hostname or "", port=_parts.port or 80)
)
app = Guard(
    Forwarder((Target("upstream", _upstream),)),
    config=GuardConfig(body_limit_bytes=int(os.environ["TABLE_LIMIT"])),
    engine=create_engine(
        policy=os.environ["TABLE_POLICY"],
        store=os.environ["TABLE_STORE"],
        secret_file=os.environ["TABLE_SECRET"],
        log_dir=os.environ["TABLE_LOG"],
    ),
)
