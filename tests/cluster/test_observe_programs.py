"""Prometheus and Grafana as they are found, started, and missed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from cluster.live import ports, processes, run_state
from cluster.live.observers import answers, started
from cluster.observe import programs
from cluster.observe.programs import Program
from tests.cluster.cli_said import Fusion
from tests.cluster.test_cli_up import Launch, home, launch

__all__ = ["home", "launch"]  # fixtures

PORTS = {"prometheus": 17090, "grafana": 17091}


def executable(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("#!/bin/sh\n", encoding="utf-8")
    file.chmod(0o755)
    return file


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder in which alone programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(programs, "_MORE_FOLDERS", ())
    return tmp_path


def test_what_is_not_there_is_not_started(machine: Path) -> None:
    assert programs.programs(machine, PORTS) == []
    assert not any(programs.is_here(name) for name in programs.NAMES)


def test_prometheus_listens_on_loopback_and_stores_with_the_run(machine: Path) -> None:
    server = executable(machine / "bin" / "prometheus")
    (program,) = programs.programs(machine / "run", PORTS)
    assert program.url == "http://127.0.0.1:17090"
    assert program.command == (
        str(server),
        f"--config.file={machine}/run/prometheus.yml",
        "--web.listen-address=127.0.0.1:17090",
        f"--storage.tsdb.path={machine}/run/prometheus-data",
    )


@pytest.mark.parametrize(
    ("server", "defaults", "command"),
    [
        ("bin/grafana", "conf/defaults.ini", ["server"]),
        ("bin/grafana", "share/grafana/conf/defaults.ini", ["server"]),
        ("bin/grafana-server", "conf/defaults.ini", []),
    ],
)
def test_grafana_is_found_with_its_home(
    machine: Path, server: str, defaults: str, command: list[str]
) -> None:
    executable(machine / server)
    executable(machine / defaults)
    (program,) = programs.programs(machine / "run", PORTS)
    home = (machine / defaults).parent.parent
    assert program.command == (str(machine / server), *command, "--homepath", str(home))
    assert program.environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert program.environment["GF_SERVER_HTTP_PORT"] == "17091"
    for name in ("DATA", "LOGS", "PLUGINS", "PROVISIONING"):
        assert program.environment[f"GF_PATHS_{name}"].startswith(f"{machine}/run/")


def run_python(code: str, port: int) -> Program:
    return Program("prometheus", (sys.executable, "-c", code), port)


def test_a_program_that_ends_by_itself_does_not_answer(tmp_path: Path) -> None:
    port = ports.choose(["prometheus"], None)["prometheus"]
    program = run_python("import sys; print('no'); sys.stdin.read(); raise SystemExit(1)", port)
    process = started(program, tmp_path / "prometheus.log")
    assert not asyncio.run(answers(program, process))
    assert (tmp_path / "prometheus.log").read_text() == "no\n"


def test_a_program_answers_once_it_listens(tmp_path: Path) -> None:
    port = ports.choose(["prometheus"], None)["prometheus"]
    code = f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"  # noqa: E501
    program = run_python(code, port)
    process = started(program, tmp_path / "prometheus.log")
    try:
        assert asyncio.run(answers(program, process))
    finally:
        processes.stop(process, 5.0)


def test_up_says_how_to_get_what_is_absent_and_goes_on(
    launch: Launch, fusion: Fusion, machine: Path
) -> None:
    said = fusion("up", "--detach", "--observe", "--json")
    try:
        assert said.code == 0
        assert said.document["grafana_url"] is None
        assert "no prometheus on this machine: install the package 'prometheus'" in said.err
        assert "no grafana on this machine: install the package 'grafana'" in said.err
    finally:
        processes.stop(run_state.find("demo").launcher, 5.0)


def test_up_says_where_the_log_of_one_is_that_does_not_answer(
    launch: Launch, fusion: Fusion, machine: Path
) -> None:
    executable(machine / "bin" / "prometheus")
    said = fusion("up", "--detach", "--observe")
    try:
        assert said.code == 0
        assert "prometheus does not answer; " in said.err
        assert "/run-1/logs/prometheus.log says why" in said.err
    finally:
        processes.stop(run_state.find("demo").launcher, 5.0)


def test_up_says_where_they_are(
    launch: Launch, fusion: Fusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLI_OBSERVERS", "http://127.0.0.1:17090")
    said = fusion("up", "--detach", "--observe")
    try:
        assert "  Prometheus   http://127.0.0.1:17090\n" in said.out
        assert "prometheus --config.file" not in said.out
        assert "no prometheus" not in said.err
    finally:
        processes.stop(run_state.find("demo").launcher, 5.0)
