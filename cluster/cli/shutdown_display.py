"""How a shutdown comes along."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from rich.console import Console

from cluster.cli.output import watched

_REFRESH_S = 0.3


@asynccontextmanager
async def shutting_down(
    console: Console, what: str, processes_left: Callable[[], int] | None
) -> AsyncIterator[None]:
    """Say ``what`` is being done while the block lasts, and then that nothing is left."""
    began_s = time.monotonic()
    if not watched(console):
        console.print(f"{what} ...", markup=False, soft_wrap=True)
        yield
    else:
        with console.status(f"{what} ...") as status:

            async def count() -> None:
                while processes_left is not None:
                    left = await asyncio.to_thread(processes_left)
                    status.update(f"{what} ... [dim]{left} processes left[/]")
                    await asyncio.sleep(_REFRESH_S)

            counting = asyncio.ensure_future(count())
            try:
                yield
            finally:
                counting.cancel()
                with suppress(asyncio.CancelledError):
                    await counting
    console.print(
        f"nothing is left of it ({time.monotonic() - began_s:.1f} s)", markup=False, highlight=False
    )
