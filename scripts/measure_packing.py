"""Measures how far and how fast pages pack, and writes fusion/migration/packing_figures.py.

Run from the repository's root:

    PYTHONPATH=. python scripts/measure_packing.py

Ratios depend on the materialiser and the compressors' versions; speeds on the machine as well.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from time import thread_time

import lz4
import zstandard

from cluster.agent.migration.codec import pack
from fusion.memory.content import pages
from fusion.memory.spec import CONTENTS, PAGE_BYTES, Content
from fusion.migration.settings import Compression

FIGURES = Path("fusion/migration/packing_figures.py")

GROUPS = 32
PAGES = 256  # of a group: a message of 1 MiB
REPEATS = 5  # the fastest counts: whatever else the machine does only slows

MEASURED = tuple(content for content in CONTENTS if content is not Content.ZERO)
COMPRESSORS = (Compression.LZ4, Compression.ZSTD)


def samples(content: Content) -> list[bytes]:
    """Return messages as a migration makes them, of one group each."""
    return [pages(1, group, 1, content, PAGES) for group in range(GROUPS)]


def packed_share(content: Content, compression: Compression) -> float:
    """Return what is left of pages once packed."""
    packed_bytes = sum(len(pack(message, compression)) for message in samples(content))
    return packed_bytes / (GROUPS * PAGES * PAGE_BYTES)


def packing_bytes_s(content: Content, compression: Compression) -> float:
    """Return how much one thread packs a second."""
    messages, best_s = samples(content), float("inf")
    for _ in range(REPEATS):
        began_s = thread_time()
        for message in messages:
            pack(message, compression)
        best_s = min(best_s, thread_time() - began_s)
    return GROUPS * PAGES * PAGE_BYTES / best_s


def main() -> None:
    """Measure, and write the module of figures."""
    lines = [
        '"""How far and how fast pages pack: written by scripts/measure_packing.py."""',
        "",
        "from collections.abc import Mapping",
        "",
        "from fusion.memory.spec import Content",
        "from fusion.migration.settings import Compression",
        "",
        "#: Whoever measures again, with other versions, gets slightly other ratios.",
        f'COMPRESSORS = "lz4 {lz4.library_version_string()}, '
        f'zstd {".".join(map(str, zstandard.ZSTD_VERSION))} level 1"',
        "",
        "#: Of which a thread packed so fast.",
        f'MACHINE = "{processor()}"',
        "",
        *table("PACKED_SHARES", lambda *of: f"{packed_share(*of):.4f}"),
        "",
        *table("PACKING_BYTES_S", lambda *of: f"{packing_bytes_s(*of) / 1e6:.0f}e6"),
    ]
    FIGURES.write_text("\n".join(lines) + "\n")


def table(name: str, figure: Callable[[Content, Compression], str]) -> list[str]:
    """Return the lines that give ``figure`` of every content and compressor a ``name``."""
    lines = [f"{name}: Mapping[Compression, Mapping[Content, float]] = {{"]
    for compression in COMPRESSORS:
        lines.append(f"    Compression.{compression.name}: {{")
        lines += [
            f"        Content.{content.name}: {figure(content, compression)},"
            for content in MEASURED
        ]
        lines.append("    },")
    return [*lines, "}"]


def processor() -> str:
    """Return what this machine computes with."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
