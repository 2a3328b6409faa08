"""Everything that happened in a run, folded into one digest; on request, line by line."""

from __future__ import annotations

import hashlib
from collections.abc import Callable


class Trace:
    """The digest of a run: two runs with one digest did the same things at the same instants."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        #: Have these bytes count for the digest, as what a message of a known call says.
        self.fold: Callable[[bytes], None] = self._hash.update
        self.entries = 0
        #: Called with every line, where somebody wants to read along.
        self.reader: Callable[[str], None] | None = None

    def note(self, now_s: float, what: str, payload: bytes = b"") -> None:
        """Add that ``what`` happened at ``now_s``; ``payload`` counts for the digest only."""
        line = f"{now_s!r} {what}"
        self._hash.update(line.encode() + payload)
        self.entries += 1
        if self.reader is not None:
            self.reader(line)

    @property
    def digest(self) -> str:
        """The digest of all entries so far, in hexadecimal."""
        return self._hash.hexdigest()
