"""What the console script calls."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; a Ctrl-C while it is still being imported just ends it."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cluster.cli import main as command_line

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command_line.main()
