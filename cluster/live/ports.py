"""Which ports a datacenter uses: a consecutive run below the range that the system deals out."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from pathlib import Path

from fusion.errors import InvalidInput, Refused

LOOPBACK = "127.0.0.1"
FIRST_CHOICE = 17000
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def ephemeral_start() -> int:
    """Return the first port that the system gives to outgoing connections."""
    try:
        return int(_EPHEMERAL.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 32768  # Linux's default; elsewhere the range begins later


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on ``port`` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed ones don't count
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def choose(
    purposes: Sequence[str], first_port: int | None, reserved: Iterable[int] = ()
) -> dict[str, int]:
    """Return a port for each of ``purposes``, consecutive and free.

    ``first_port`` is the wanted first one; without it the lowest run from 17000 up is taken.
    ``reserved`` ports are another datacenter's, also where nobody listens on them yet. Raises
    ``Refused`` naming the port that is taken, ``InvalidInput`` where the run leaves the range.
    """
    taken = frozenset(reserved)
    end = ephemeral_start()
    if first_port is None:
        return _first_run(purposes, taken, end)
    wanted = {purpose: first_port + offset for offset, purpose in enumerate(purposes)}
    if first_port + len(purposes) > end:
        raise InvalidInput(
            f"first_port: the {len(purposes)} ports from {first_port} reach into the range that "
            f"the system deals out ({end} and up); the highest that would do is "
            f"{end - len(purposes)}"
        )
    for purpose, port in wanted.items():
        if port in taken or not is_free(port):
            raise Refused(
                f"first_port: port {port}, wanted for {purpose}, is taken; stop what uses it, or "
                "choose another first_port (without one, free ports are found)"
            )
    return wanted


def _first_run(purposes: Sequence[str], taken: frozenset[int], end: int) -> dict[str, int]:
    start = FIRST_CHOICE
    for port in range(FIRST_CHOICE, end):
        if port in taken or not is_free(port):
            start = port + 1
        elif port - start + 1 == len(purposes):
            return {purpose: start + offset for offset, purpose in enumerate(purposes)}
    raise Refused(
        f"no {len(purposes)} consecutive ports are free between {FIRST_CHOICE} and {end}; pack "
        "more hosts into a process with hosts_per_actor, or stop another datacenter"
    )
