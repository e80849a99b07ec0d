"""uvicorn as a worker runs it: it drains on a signal and cleans up nothing that is ours."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn

from .adapters.client import networks
from .adapters.connections import Connections
from .adapters.guard import ASGIApp
from .adapters.http_server import listening
from .settings import Settings

KEEP_ALIVE_S = 75
BACKLOG = 2048


class GracefulServer(uvicorn.Server):
    """uvicorn, except that signals only ask it to drain; what follows is ours to clean up.

    `on_started` is called once connections are accepted.
    """

    on_started: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.drain)
        yield

    def drain(self) -> None:
        """No new requests; streams go on until the deadline."""
        self.should_exit = True


def server_config(settings: Settings, app: ASGIApp, clients: Connections) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",  # one that hands on another's awaitable is no coroutine function
        http=listening(
            write_timeout_s=settings.client_write_timeout_s,
            balancers=networks(settings.trusted_proxies) if settings.proxy_protocol else None,
            clients=clients,
            trusted_port=None if settings.checks is None else settings.checks.port,
        ),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=int(settings.drain_s),
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        ssl_version=ssl.PROTOCOL_TLS_SERVER,
    )
