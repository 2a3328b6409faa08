"""Prometheus and Grafana as they are found on a machine: how to start them, or how to get them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cluster.observe.places import DASHBOARDS, PROMETHEUS_YML, PROVISIONING

PROMETHEUS = "prometheus"
GRAFANA = "grafana"
NAMES = (PROMETHEUS, GRAFANA)

HOW_TO_GET = {
    PROMETHEUS: "install the package 'prometheus' (Debian, Ubuntu, Arch, Homebrew)",
    GRAFANA: "install the package 'grafana' (Fedora, Arch, Homebrew; for Debian and Ubuntu it is "
    "in the package repository of Grafana Labs)",
}

_ALSO_CALLED = {GRAFANA: ("grafana-server",)}  # before 9.4

#: Where servers are that are not on the path of everybody.
_MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/share/grafana/bin")
_GRAFANA_HOMES = (Path("/usr/share/grafana"), Path("/usr/local/share/grafana"))


@dataclass(frozen=True, slots=True)
class Program:
    """One to be started; it answers on ``port`` of loopback."""

    name: str
    command: tuple[str, ...]
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return _url(self.port)


def programs(folder: Path, ports: Mapping[str, int]) -> list[Program]:
    """Return those of Prometheus and Grafana that are on this machine, to be started on what
    ``cluster.observe.folder`` wrote into ``folder``. What they store goes there too.
    """
    found = (_prometheus(folder, ports[PROMETHEUS]), _grafana(folder, ports[GRAFANA]))
    return [program for program in found if program is not None]


def is_here(name: str) -> bool:
    """Tell whether Prometheus, or Grafana, is on this machine."""
    return _server(name) is not None


def prometheus_url(ports: Mapping[str, int]) -> str:
    """Return where Prometheus is to answer."""
    return _url(ports[PROMETHEUS])


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _prometheus(folder: Path, port: int) -> Program | None:
    server = _server(PROMETHEUS)
    if server is None:
        return None
    command = (
        server,
        f"--config.file={folder / PROMETHEUS_YML}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--storage.tsdb.path={folder / 'prometheus-data'}",
    )
    return Program(PROMETHEUS, command, port)


def _grafana(folder: Path, port: int) -> Program | None:
    server = _server(GRAFANA)
    if server is None:
        return None
    command = (server, "server") if Path(server).name == "grafana" else (server,)
    own = folder / "grafana"
    settings = {
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_PATHS_DATA": str(own / "data"),
        "GF_PATHS_LOGS": str(own / "log"),
        "GF_PATHS_PLUGINS": str(own / "plugins"),
        "GF_PATHS_PROVISIONING": str(folder / PROVISIONING),
        "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(folder / DASHBOARDS / "datacenter.json"),
        # On loopback, for whoever launched it: nobody has to log in, and nothing calls home.
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Editor",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_NEWS_NEWS_FEED_ENABLED": "false",
    }
    home = _grafana_home(Path(server))
    return Program(GRAFANA, (*command, "--homepath", str(home)), port, settings)


def _grafana_home(server: Path) -> Path:
    """Return the folder of the defaults and the pages that ``server`` came with."""
    around = server.resolve().parent.parent
    homes = (around, around / "share" / "grafana", *_GRAFANA_HOMES)
    return next((home for home in homes if (home / "conf" / "defaults.ini").exists()), around)


def _server(name: str) -> str | None:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_MORE_FOLDERS))
    candidates = (name, *_ALSO_CALLED.get(name, ()))
    return next((found for each in candidates if (found := shutil.which(each, path=path))), None)
