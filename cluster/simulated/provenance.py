"""Where a run comes from: the code, the libraries and the files that it was made of."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from cluster.policy import sources
from fusion.spec import Datacenter, Trace

#: What the arithmetic, the messages and the order of things could depend on.
LIBRARIES = ("fusion-datacenter", "grpcio", "numpy", "protobuf", "structlog")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a manifest tells beside the run itself.

    ``commit`` is none where the code is not from a working copy of git; ``clean`` tells whether
    that was as committed.
    """

    commit: str | None
    clean: bool | None
    versions: dict[str, str]
    inputs: tuple[dict[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "commit": self.commit,
            "clean": self.clean,
            "versions": self.versions,
            "inputs": list(self.inputs),
        }


def present(inputs: Sequence[dict[str, str]] = ()) -> Origin:
    """Return what this process runs, with the ``inputs`` that it was given."""
    commit, clean = _commit()
    versions = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            versions[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            versions[library] = "unknown"
    return Origin(commit, clean, versions, tuple(inputs))


def inputs_of(source: str, datacenter: Datacenter, datasets: Path | None) -> list[dict[str, str]]:
    """Return path and SHA-256 of the datacenter file, and of its traces and policies."""
    file = Path(source)
    text = file.read_bytes() if file.is_file() else _scenario(source)
    found = [_entry(source, text)]
    folder = file.parent if file.is_file() else None
    places = [place for place in (folder, datasets, Path()) if place is not None]
    traces = [vm.spec.workload for vm in datacenter.vms if isinstance(vm.spec.workload, Trace)]
    for written in dict.fromkeys(trace.source for trace in traces):
        path = next(_files(places, written), None)
        if path is not None:
            found.append(_entry(written, path.read_bytes()))
    for policy in sources(datacenter).values():
        found.append({"path": str(policy.path), "sha256": policy.sha256})
    return found


def _files(places: Sequence[Path], written: str) -> Iterator[Path]:
    return (place / written for place in places if (place / written).is_file())


def _scenario(name: str) -> bytes:
    return (resources.files("cluster.scenarios") / f"{name}.yaml").read_bytes()


def _entry(path: str, content: bytes) -> dict[str, str]:
    return {"path": path, "sha256": hashlib.sha256(content).hexdigest()}


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of the code that runs, and whether nothing is changed since."""
    here = Path(__file__)
    if _git("ls-files", "--error-unmatch", here.name) is None:
        return None, None  # not from a working copy, or from one of something else
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return commit, None if changes is None else not changes


def _git(*arguments: str) -> str | None:
    """Return what git says of the folder of this file, or nothing where it cannot tell."""
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
