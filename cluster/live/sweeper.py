"""The last act of a launcher: it becomes this program, which ends the rest and says how it went.

Taking the launcher's place (``exec``) stops all of its threads at once, in whatever they were;
Ray cannot start one more process behind our back while the others are ended.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from cluster.live import run_state
from cluster.live.processes import remove_leftovers
from cluster.live.progress import Progress, Step
from fusion.errors import FusionError


def become_sweeper(run_file: Path, exit_code: int, last_line: str) -> NoReturn:
    """Replace this process; ``last_line`` goes to standard output once everything is gone."""
    # Ignored signals stay ignored: being asked to end twice must not leave half of it behind.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.flush()
    command = [sys.executable, "-m", "cluster.live.sweeper"]
    os.execv(sys.executable, [*command, str(run_file), str(exit_code), last_line])


def main() -> int:
    """Sweep up after the run in the file that is the first argument."""
    run_file, exit_code, last_line = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    try:
        remove_leftovers(run_state.read(run_file))
    except FusionError as error:
        last_line = last_line or Progress(Step.FAILED, text=str(error)).line()
        exit_code = exit_code or 1
    try:
        sys.stdout.write(last_line)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody listens any more
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
