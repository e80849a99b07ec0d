"""The upstream client: HTTP/1.1 to a model API, streaming, behind a port of two methods.

Laws, each held by a test against real servers:

- A request is written once. Only what was never written is tried again.
- A body that was cut short is an error, never a short body.
- Whoever leaves frees the slot at once: cancelling closes the connection.
- A connection carries the next exchange only if the last one ended exactly where it should.

Read `port.py` first, then `connection.py`.
"""

from .client import HttpUpstream
from .port import Upstream, UpstreamResponse, UpstreamSettings

__all__ = ["HttpUpstream", "Upstream", "UpstreamResponse", "UpstreamSettings"]
