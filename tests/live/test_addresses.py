from dataclasses import replace
from pathlib import Path

import pytest

from cluster.live.addresses import AddressBook
from cluster.live.run_state import Process, RunState
from fusion.errors import NotFound


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunState:
    monkeypatch.setenv("FUSION_HOME", str(tmp_path))
    return RunState("demo", "", Process(1, "", ""), "up", addresses={"vrm": "127.0.0.1:1"})


def test_the_file_is_read_again_when_it_changed(state: RunState) -> None:
    state.save()
    book = AddressBook(state.file, {})
    assert book("vrm") == "127.0.0.1:1"
    replace(state, addresses={"vrm": "127.0.0.1:2"}).save()
    assert book("vrm") == "127.0.0.1:2"


def test_without_a_file_the_given_table_counts(state: RunState) -> None:
    book = AddressBook(state.file, {"vrm": "10.0.0.1:3"})
    assert book("vrm") == "10.0.0.1:3"
    state.save()
    assert book("vrm") == "127.0.0.1:1"
    state.remove()
    assert book("vrm") == "10.0.0.1:3"


def test_an_unknown_name_is_an_error(state: RunState) -> None:
    with pytest.raises(NotFound, match="cna-99"):
        AddressBook(state.file, {})("cna-99")
