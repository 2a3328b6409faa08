"""Network namespaces of Linux, by setns(2): each thread is in one of its own.

None bears a name, so none is ever left over: the kernel ends a namespace, and the links in it, with
the last process and descriptor that holds it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from fusion.errors import FusionError, Refused

_CLONE_NEWNET = 0x40000000
_OF_THIS_THREAD = "/proc/thread-self/ns/net"

#: The machine's own: only threads that enter another one leave it, and the first never does.
OF_THE_MACHINE = "/proc/self/ns/net"


def check(option: str) -> None:
    """Raise ``Refused`` where this process can make no namespaces; ``option`` asked for them."""
    if not sys.platform.startswith("linux"):
        raise Refused(f"{option}: there are network namespaces on Linux only; leave it out")
    if os.geteuid() != 0:
        raise Refused(f"{option}: network namespaces need root; run it as root, or leave it out")
    if shutil.which("ip") is None:
        raise Refused(f"{option}: there is no 'ip' here; install iproute2, or leave it out")


def new(option: str) -> int:
    """Return a descriptor of a new namespace, which nothing is in yet. Raises ``Refused``."""
    with visiting(OF_THE_MACHINE):
        try:
            _call("unshare", _CLONE_NEWNET)
        except OSError as error:
            raise Refused(
                f"{option}: the kernel makes no network namespace ({error.strerror}), as in a "
                "container without CAP_SYS_ADMIN; leave it out"
            ) from error
        return os.open(_OF_THIS_THREAD, os.O_RDONLY)


def path_of(descriptor: int) -> str:
    """Return where other processes find the namespace of ``descriptor`` while this one lives."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def enter(namespace: str) -> None:
    """From now on this thread, and each that it starts, opens its sockets in ``namespace``."""
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        _call("setns", descriptor, _CLONE_NEWNET)
    finally:
        os.close(descriptor)


@contextmanager
def visiting(namespace: str) -> Iterator[None]:
    """Have this thread in ``namespace`` for the length of the block."""
    before = os.open(_OF_THIS_THREAD, os.O_RDONLY)
    try:
        enter(namespace)
        yield
    finally:
        _call("setns", before, _CLONE_NEWNET)
        os.close(before)


def ip(namespace: str, lines: Sequence[str]) -> None:
    """Give the orders in ``lines`` to ip(8) in ``namespace``. Raises ``FusionError``."""
    with visiting(namespace):
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input="".join(f"{line}\n" for line in lines),
            text=True,
            capture_output=True,
            check=False,
        )
    if done.returncode != 0:
        said = "; ".join(done.stderr.split("\n")).strip("; ")
        raise FusionError(f"ip(8) cannot {lines[0]!r} and what follows it: {said}")


def _call(name: str, *arguments: int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
