"""docs/chaos.md is true: its example loads, and it names every figure, kind and mode."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster.chaos.file import load
from fusion.experiment.alarms import ALARMS
from fusion.experiment.evidence import EXIT_CODES
from fusion.experiment.figures import FIGURES
from fusion.experiment.spec import When
from fusion.faults.schedule import FaultKind

DOCS = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text(encoding="utf-8")


def test_the_example_is_an_experiment(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL)
    path = tmp_path / "my-first.yaml"
    path.write_text(example, encoding="utf-8")
    experiment = load(str(path)).experiment
    assert (len(experiment.faults), len(experiment.orders)) == (3, 1)


@pytest.mark.parametrize("word", [*FIGURES, *ALARMS, *FaultKind, *When])
def test_it_names_everything(word: str) -> None:
    assert f"`{word}`" in DOCS


def test_exit_codes_are_as_it_says() -> None:
    found = re.findall(r"^\| (\d) \| (\w+) \|", DOCS, flags=re.MULTILINE)
    assert {name: int(code) for code, name in found} == {k.value: v for k, v in EXIT_CODES.items()}
