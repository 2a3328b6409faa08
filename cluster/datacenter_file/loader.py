"""Finds a datacenter file or a packaged scenario, and makes a datacenter of it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cluster.datacenter_file import checks, document
from cluster.datacenter_file.availability_checks import check_admission
from cluster.datacenter_file.expansion import expand
from cluster.datacenter_file.mistakes import DatacenterFileError, did_you_mean, from_validation
from cluster.datacenter_file.plan import Mistakes, host_plans, vm_plans
from cluster.datacenter_file.schema import DatacenterFile
from cluster.datacenter_file.traces import TraceFinder
from cluster.policy import resolve
from fusion.errors import InvalidInput
from fusion.spec import Datacenter

SUFFIXES = (".yaml", ".yml")
MAX_FILE_BYTES = 64 << 20


def scenarios() -> list[str]:
    """Return the names of the packaged scenarios, sorted."""
    folder = resources.files("cluster.scenarios")
    names = [Path(entry.name) for entry in folder.iterdir()]
    return sorted(name.stem for name in names if name.suffix == ".yaml")


def load(
    source: str,
    *,
    speed: float | None = None,
    datasets: Path | None = None,
    policy: str | None = None,
    clients: list[Any] | None = None,
) -> Datacenter:
    """Return the datacenter of a file, or of a packaged scenario.

    ``source`` is a path (it is a file, has a folder or ends in .yaml) or the name of a scenario.
    ``speed`` takes the place of the file's own, ``policy`` (``path.py:Name``) that of the policies
    of all its clusters, ``clients`` (as a file writes them) that of its clients. Trace files are
    looked for beside the file, in ``datasets`` and in the current folder. Raises
    ``DatacenterFileError`` with every mistake that could be found.
    """
    text, folder = _read(source)
    file = _validate(text, source, clients)
    if speed is not None:
        file = file.model_copy(update={"speed": speed})
    places = [place for place in (folder, datasets, Path()) if place is not None]
    mistakes = Mistakes()
    hosts = host_plans(file, mistakes)
    vms = vm_plans(file, TraceFinder([place.absolute() for place in places]), mistakes)
    checks.check(file, hosts, vms, mistakes)
    file = _with_policies(file, folder or Path(), policy, mistakes)
    if mistakes.sentences:
        raise DatacenterFileError(mistakes.sentences)
    datacenter = expand(file, hosts, vms)
    check_admission(datacenter, mistakes)
    if mistakes.sentences:
        raise DatacenterFileError(mistakes.sentences)
    return datacenter


def _with_policies(
    file: DatacenterFile, folder: Path, policy: str | None, mistakes: Mistakes
) -> DatacenterFile:
    """Return ``file`` with the policies under study found: beside it, or in the current folder."""
    clusters = []
    for index, cluster in enumerate(file.clusters):
        reference = cluster.policy
        try:
            if policy is not None:
                reference = resolve(policy, [Path.cwd()])
            elif reference is not None:
                reference = resolve(reference, [folder.absolute(), Path.cwd()])
        except InvalidInput as error:
            if policy is not None:
                raise InvalidInput(f"--policy: {error}") from None
            mistakes.add(f"clusters[{index}].policy", str(error))
        clusters.append(cluster.model_copy(update={"policy": reference}))
    return file.model_copy(update={"clusters": clusters})


def _validate(text: str, source: str, clients: list[Any] | None) -> DatacenterFile:
    tree, mistakes = document.parse(text, source)
    if isinstance(tree, dict):
        tree.setdefault("datacenter", Path(source).stem)
        if clients is not None:
            tree["clients"] = clients
    try:
        file = DatacenterFile.model_validate(tree)
    except ValidationError as error:
        mistakes += from_validation(error, tree, DatacenterFile)
    if mistakes:
        raise DatacenterFileError(mistakes)
    return file


def _read(source: str) -> tuple[str, Path | None]:
    """Return the text of ``source`` and the folder that it stands in, if it has one."""
    path = Path(source)
    try:
        if not (path.is_file() or "/" in source or path.suffix in SUFFIXES):
            return _scenario(source), None
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DatacenterFileError([f"{source} is too large for a datacenter file"])
        return path.read_text(encoding="utf-8-sig"), path.parent
    except UnicodeDecodeError as error:
        raise DatacenterFileError([f"{source} is not text in UTF-8; save it as such"]) from error
    except OSError as error:
        raise DatacenterFileError([f"{source} cannot be read: {error.strerror}"]) from error


def _scenario(name: str) -> str:
    if name not in scenarios():
        hint = did_you_mean(name, scenarios(), "there is")
        raise DatacenterFileError(
            [f"{name!r} is neither a file nor a packaged scenario; {hint} (a file ends in .yaml)"]
        )
    return (resources.files("cluster.scenarios") / f"{name}.yaml").read_text(encoding="utf-8")
