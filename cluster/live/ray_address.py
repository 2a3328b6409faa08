"""Which Ray a launch uses: one of its own, or a cluster that somebody names."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from fusion.errors import InvalidInput, Refused

PROBE_S = 2.0
_IS_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_NO_ANSWER = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNKNOWN,  # an answer in HTTP that is no gRPC
    grpc.StatusCode.UNIMPLEMENTED,  # the gRPC server of something else
)
_WAY_OUT = "start the cluster, correct the address, or leave it out for a Ray of its own"


@dataclass(frozen=True, slots=True)
class RayAddress:
    """A cluster's address, and in words where that came from."""

    address: str
    origin: str


def resolve(option: str | None) -> RayAddress | None:
    """Return the cluster that ``option`` or RAY_ADDRESS names; None: a Ray of our own.

    An address file that somebody's Ray left behind counts only where 'auto' asks for it. Raises
    ``InvalidInput`` where it is no address, ``Refused`` where 'auto' finds none.
    """
    variable = os.environ.get("RAY_ADDRESS", "")
    given, origin = (option, "--ray-address") if option else (variable, "RAY_ADDRESS")
    if not given or given == "local":
        return None
    if given == "auto":
        file = address_file()
        try:
            given = file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            raise Refused(
                f"{origin} is 'auto', but no Ray cluster is known here (there is no {file}); "
                f"{_WAY_OUT}"
            ) from None
        origin = f"{origin} 'auto', by way of {file}"
    host, _, port = given.rpartition(":")
    if "://" in given or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidInput(
            f"{origin}: {given!r} is not the address of a Ray cluster; write host:port, for "
            "example 10.0.0.1:6379"
        )
    return RayAddress(given, origin)


def address_file() -> Path:
    """Return where Ray notes the cluster that was last started on this machine."""
    base = os.environ.get("RAY_TMPDIR")
    if base is None and sys.platform.startswith("linux"):
        base = os.environ.get("TMPDIR")
    return Path(base or "/tmp") / "ray" / "ray_current_cluster"


def probe(where: RayAddress) -> None:
    """Make sure that something answers there. Raises ``Refused``, after a few seconds at most."""
    host, _, port = where.address.rpartition(":")
    deadline = time.monotonic() + PROBE_S
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PROBE_S).close()
    except OSError as error:
        reason = error.strerror or "no answer"
        raise _silent(where, reason.lower()) from error
    if os.environ.get("RAY_USE_TLS") == "1":
        return  # more can only be said with Ray's own certificates
    # Something listens. Whether it is a Ray, its answer tells, be it that we need a token.
    channel = grpc.insecure_channel(where.address, options=(("grpc.enable_http_proxy", 0),))
    try:
        is_alive: Callable[..., bytes] = channel.unary_unary(_IS_ALIVE)
        is_alive(b"", timeout=max(1.0, deadline - time.monotonic()))
    except grpc.RpcError as error:
        if error.code() in _NO_ANSWER:
            raise _silent(where, "what listens there is no Ray") from None
    finally:
        channel.close()


def is_loopback_only(where: RayAddress) -> bool:
    """Tell whether that cluster listens on loopback and nowhere else.

    Ray takes a loopback address for this machine's outward one, and waits there for ever.
    """
    host, _, port = where.address.rpartition(":")
    if host not in ("127.0.0.1", "localhost"):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        try:
            outward.connect(("192.0.2.1", 1))  # sends nothing: asks only which way it would go
            address = outward.getsockname()[0]
            socket.create_connection((address, int(port)), timeout=PROBE_S).close()
        except OSError:
            return True
    return False


def _silent(where: RayAddress, reason: str) -> Refused:
    stale = "; that file is stale, remove it or" if "by way of" in where.origin else ";"
    return Refused(
        f"no Ray cluster answers at {where.address} ({reason}), which came from "
        f"{where.origin}{stale} {_WAY_OUT}"
    )
