"""`python -m hydragate.loadtests.standin --port 9100`: prints one line when ready."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal

import click
import uvloop

from .server import StandInSettings, serve


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=9100, show_default=True)
@click.option("--fast", is_flag=True, help="Fixed answers at once, for benchmarks.")
@click.option("--time-scale", default=1.0, show_default=True, help="0: no pauses at all.")
@click.option("--seed", default=1, show_default=True)
@click.option("--error-rate", default=0.0, show_default=True)
def main(host: str, port: int, fast: bool, time_scale: float, seed: int, error_rate: float) -> None:
    """A model API that answers plausibly and costs nothing."""
    settings = StandInSettings(fast=fast, time_scale=time_scale, seed=seed, error_rate=error_rate)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(_run(host, port, settings))


async def _run(host: str, port: int, settings: StandInSettings) -> None:
    server = await serve(host, port, settings)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    actual = server.sockets[0].getsockname()[1]
    print(f"standin listening on http://{host}:{actual}", flush=True)
    await stop.wait()
    server.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await server.wait_closed()


if __name__ == "__main__":
    main()
