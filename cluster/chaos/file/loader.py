"""Finds an experiment file or a packaged experiment, with the datacenter that it is about."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import ValidationError

from cluster import datacenter_file
from cluster.chaos.file.checks import check
from cluster.chaos.file.expansion import expand
from cluster.chaos.file.mistakes import ExperimentFileError
from cluster.chaos.file.schema import ExperimentFile
from cluster.datacenter_file import document
from cluster.datacenter_file.loader import scenarios
from cluster.datacenter_file.mistakes import did_you_mean, from_validation
from cluster.datacenter_file.plan import Mistakes
from fusion.experiment.spec import Experiment
from fusion.spec import Datacenter

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An experiment, and the datacenter that it is carried out on, with its clients.

    ``source`` is what the operator called it.
    """

    source: str
    experiment: Experiment
    datacenter: Datacenter

    def with_seed(self, seed: int) -> Loaded:
        """Return the same under another seed, which decides everything that is random."""
        return replace(
            self,
            experiment=replace(self.experiment, seed=seed),
            datacenter=replace(self.datacenter, seed=seed),
        )


def experiments() -> list[str]:
    """Return the names of the packaged experiments, sorted."""
    names = [Path(entry.name) for entry in _folder().iterdir()]
    return sorted(name.stem for name in names if name.suffix == ".yaml")


def load(source: str, *, seed: int | None = None, datasets: Path | None = None) -> Loaded:
    """Return the experiment of a file, or a packaged one by its name, under ``seed`` if given.

    Raises ``DatacenterFileError`` with every mistake that could be found, in it or in its
    datacenter: nothing of it is started where it cannot be carried out to the end.
    """
    text, folder = _read(source)
    file = _validate(text, source)
    datacenter_source = _datacenter_of(file, folder)
    datacenter = datacenter_file.load(datacenter_source, datasets=datasets, clients=file.clients)
    sources = {Path(source).name: _sha256(text)}
    if Path(datacenter_source).is_file():
        written = Path(datacenter_source).read_text(encoding="utf-8-sig")
        sources[Path(datacenter_source).name] = _sha256(written)
    mistakes = Mistakes()
    experiment = expand(file, datacenter_source, sources, mistakes)
    if not mistakes.sentences:
        check(experiment, datacenter, mistakes)
    if mistakes.sentences:
        raise ExperimentFileError(mistakes.sentences)
    return Loaded(source, experiment, datacenter).with_seed(
        experiment.seed if seed is None else seed
    )


def _datacenter_of(file: ExperimentFile, folder: Path | None) -> str:
    """Return what the experiment is about: a scenario, or a file beside its own."""
    if (file.scenario is None) == (file.datacenter is None):
        what = "missing" if file.scenario is None else "given beside datacenter"
        raise ExperimentFileError(
            [f"scenario: {what}; write a packaged scenario, or datacenter and the path of a file"]
        )
    if file.datacenter is not None:
        return str((folder or Path()) / file.datacenter)
    if file.scenario not in scenarios():
        hint = did_you_mean(str(file.scenario), scenarios(), "there is")
        raise ExperimentFileError(
            [
                f"scenario: {file.scenario!r} is no packaged scenario; {hint} "
                "(a file is named by datacenter)"
            ]
        )
    return str(file.scenario)


def _validate(text: str, source: str) -> ExperimentFile:
    if not text.strip():
        raise ExperimentFileError([f"{source} is empty; write for example experiment: first"])
    tree, mistakes = document.parse(text, source)
    if isinstance(tree, dict):
        tree.setdefault("experiment", Path(source).stem)
    try:
        file = ExperimentFile.model_validate(tree)
    except ValidationError as error:
        mistakes += from_validation(error, tree, ExperimentFile)
    if mistakes:
        raise ExperimentFileError(mistakes)
    return file


def _read(source: str) -> tuple[str, Path | None]:
    """Return the text of ``source`` and the folder that it stands in, if it has one."""
    path = Path(source)
    try:
        if path.is_file() or "/" in source or path.suffix in SUFFIXES:
            return path.read_text(encoding="utf-8-sig"), path.parent
    except UnicodeDecodeError as error:
        raise ExperimentFileError([f"{source} is not text in UTF-8; save it as such"]) from error
    except OSError as error:
        raise ExperimentFileError([f"{source} cannot be read: {error.strerror}"]) from error
    if source not in experiments():
        hint = did_you_mean(source, experiments(), "there are")
        raise ExperimentFileError(
            [
                f"{source!r} is neither a file nor a packaged experiment; {hint} (a file ends in "
                ".yaml)"
            ]
        )
    return (_folder() / f"{source}.yaml").read_text(encoding="utf-8"), None


def _folder() -> Traversable:
    return resources.files("cluster.chaos.experiments")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
