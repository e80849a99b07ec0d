"""The sockets that workers inherit: one for each on a port that they share."""

from __future__ import annotations

import socket

from .errors import UsageError

BACKLOG = 2048
DATAGRAM_BUFFER_BYTES = 4 * 1024 * 1024


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` sockets on one port; the kernel spreads connections over them.

    Raises UsageError when the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    try:
        if port:  # of 0 the system makes a free one, which would not stay so after a probe
            _check_unused(family, host, port)
        for _ in range(count):
            listener = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if count > 1:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
            port = listener.getsockname()[1]
            listener.listen(BACKLOG)
            listener.setblocking(False)
            listener.set_inheritable(False)
    except OSError as error:
        close_all(sockets)
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return sockets


def listen_udp(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` datagram sockets on one port. Raises UsageError when it cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket(family, socket.SOCK_DGRAM)
            sockets.append(one)
            if count > 1:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DATAGRAM_BUFFER_BYTES)
            one.bind((host, port))
            one.setblocking(False)
    except OSError as error:
        close_all(sockets)
        raise UsageError(f"cannot listen on {host}:{port}/udp: {error.strerror}") from None
    return sockets


def _check_unused(family: int, host: str, port: int) -> None:
    """Sharing is for our own workers: another gateway on this port must be an error."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def close_all(sockets: list[socket.socket]) -> None:
    for listener in sockets:
        listener.close()


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
