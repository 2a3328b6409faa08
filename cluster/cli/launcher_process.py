"""The launcher, as the command line that started it sees it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from cluster.live import processes, run_state
from cluster.live.progress import Progress, Step
from cluster.live.run_state import RunState
from fusion.errors import FusionError, Refused

LAUNCHER = "cluster.live.launcher"
_POLL_S = 0.1
_LAST_WORD_S = 5.0
#: A launcher that hangs longer than this after it was asked to end is ended.
_END_GRACE_S = 40.0


class LauncherProcess:
    """A started launcher: its progress, how it ends, and what it leaves."""

    def __init__(self, arguments: Sequence[str], detached: bool) -> None:
        """Start it in a session of its own, so that a Ctrl-C reaches it through us alone.

        Unless ``detached`` it shuts down when we are gone: its standard input is its lifeline.
        """
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as we do
        self._process = subprocess.Popen(
            [sys.executable, "-m", LAUNCHER, *arguments],
            stdin=subprocess.DEVNULL if detached else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        return self._process.poll()

    async def progress(self) -> AsyncIterator[Progress]:
        """Yield what it reports until the datacenter is up.

        Raises ``Refused`` or ``FusionError`` where the launch failed, in its own words.
        """
        reader = asyncio.StreamReader()
        pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        try:
            async for line in reader:
                if not line.startswith(b"{"):
                    continue  # some library printed something
                progress = Progress.parse(line.decode())
                yield progress
                if progress.step is Step.UP:
                    return
                if progress.step is Step.FAILED:
                    # Its last word: everything is removed, so it is about to end.
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.ended(), _LAST_WORD_S)
                    raise Refused(progress.text) if progress.refused else FusionError(progress.text)
        finally:
            pipe.close()
        code = await self.ended()
        ended = f"the launcher ended ({_manner(code)}) before the datacenter was up"
        if code < 0:  # what it happened to write before is no reason
            raise FusionError(ended)
        raise FusionError(f"{ended}: {self.last_words() or 'it said nothing'}")

    async def ended(self) -> int:
        """Return its exit code once it has ended."""
        # A thread that waits could not be cancelled.
        while (code := self.exit_code) is None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL_S)
        return code

    def last_words(self) -> str:
        """Return the last line that it wrote to standard error."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def run(self) -> RunState | None:
        """Return what is recorded of the datacenter that it launches, if anything is."""
        for state in run_state.running():
            if state.launcher.pid == self.pid:
                return state
        return None

    async def shut_down(self) -> None:
        """Have it end and take everything with it; what it leaves is removed."""
        recorded = self.run()
        if self.exit_code is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self.ended(), _END_GRACE_S)
            except TimeoutError:
                self._process.kill()
                await self.ended()
        recorded = self.run() or recorded
        if recorded is not None:
            await asyncio.to_thread(processes.remove_leftovers, recorded)

    def how_it_ended(self) -> str:
        """Say how it ended, in brackets of a sentence."""
        return _manner(self.exit_code or 0)


def _manner(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
