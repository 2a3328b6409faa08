"""Where trace files are found, and what is in them; every file is read once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusion.errors import InvalidInput
from fusion.guest.trace import parse_trace
from fusion.spec import Trace

#: Mistakes named of one folder; where more files are wrong, it is the wrong folder.
MAX_MISTAKES_PER_FOLDER = 5


class TraceFinder:
    """Finds traces below the first of ``places`` that has them."""

    def __init__(self, places: Sequence[Path]) -> None:
        self._places = tuple(dict.fromkeys(places))
        self._read: dict[Path, bytes] = {}

    def trace(self, written: str, interval_s: float) -> Trace:
        """Return the trace in the file ``written``. Raises ``InvalidInput``."""
        path = self._find(
            written, "make one with: fusion traces FOLDER --count 1, and name its file here"
        )
        if path.is_dir():
            raise InvalidInput(f"{written!r} is a folder; for one VM a file, write kind: traces")
        return Trace(self._percents(path, written), interval_s, written)

    def folder(self, written: str, interval_s: float, count: int | None) -> list[Trace]:
        """Return the traces of the first ``count`` files of a folder, sorted by name.

        Raises ``InvalidInput`` where it is none, has fewer, or files are no traces: the sentences
        of those, one a line.
        """
        way_out = f"make synthetic ones with: fusion traces {written} --count {count or 1052}"
        path = self._find(written, way_out)
        if not path.is_dir():
            raise InvalidInput(f"{written!r} is a file; for every VM the same, write kind: trace")
        files = _files_in(path)
        if not files:
            raise InvalidInput(f"the folder {path} has no files; {way_out}")
        if count is not None and count > len(files):
            raise InvalidInput(
                f"the folder {path} has {len(files)} traces for a count of {count}; "
                f"write at most {len(files)}, or leave count out"
            )
        traces, mistakes = [], []
        for file in files[:count]:
            source = f"{written.rstrip('/')}/{file.name}"
            try:
                traces.append(Trace(self._percents(file, source), interval_s, source))
            except InvalidInput as error:
                mistakes.append(str(error))
            if len(mistakes) == MAX_MISTAKES_PER_FOLDER:
                break
        if mistakes:
            raise InvalidInput("\n".join(mistakes))
        return traces

    def _find(self, written: str, way_out: str) -> Path:
        for place in self._places:
            path = place / written
            try:
                if path.exists():
                    return path
            except OSError as error:  # a name that no file can have, a folder that is closed
                raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
        searched = ", ".join(str(place) for place in self._places)
        raise InvalidInput(
            f"{written!r} was not found in {searched}; "
            f"set FUSION_DATASETS to the folder that has it, or {way_out}"
        )

    def _percents(self, path: Path, source: str) -> bytes:
        if path not in self._read:
            try:
                text = path.read_text(encoding="utf-8")
            except OSError as error:
                raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise InvalidInput(f"{path} is not text; write one percentage a line") from error
            self._read[path] = parse_trace(text, source)
        return self._read[path]


def _files_in(folder: Path) -> list[Path]:
    """Return the files of ``folder`` sorted by name, hidden ones left out."""
    try:
        files = [each for each in folder.iterdir() if each.is_file() and each.name[0] != "."]
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(files, key=lambda file: file.name)
