"""The bare relay: our server and our upstream client, and no decision in between."""

from __future__ import annotations

import resource
import socket
import sys

import uvicorn
import uvloop

from ...adapters.forward import Forwarder, Target
from ...adapters.http_server import BoundedProtocol
from ...adapters.upstream import HttpUpstream, UpstreamSettings


async def serve(port: int) -> None:
    upstream = HttpUpstream(UpstreamSettings(scheme="http", host="127.0.0.1", port=port))
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            Forwarder((Target("relay", upstream),)),
            http=BoundedProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
    )
    print(f"relay ready on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    await server.serve(sockets=[listener])


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(int(sys.argv[1])))
