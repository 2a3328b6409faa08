"""What the tests of the command line share."""

from __future__ import annotations

import pytest

from cluster.cli.main import run
from tests.cluster.cli_said import Fusion, Said


@pytest.fixture
def fusion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Fusion:
    """Give the command line, to be run in this process, where nothing is set for it."""
    monkeypatch.delenv("FUSION_DATASETS", raising=False)

    def command(*arguments: str) -> Said:
        code = run(arguments)
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return command
