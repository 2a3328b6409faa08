"""The dashboards, a file each."""

from __future__ import annotations

from cluster.observe.dashboard import Dashboard
from cluster.observe.dashboards.availability import AVAILABILITY
from cluster.observe.dashboards.datacenter import DATACENTER
from cluster.observe.dashboards.host import HOST
from cluster.observe.dashboards.migrations import MIGRATIONS
from cluster.observe.dashboards.storage import STORAGE
from cluster.observe.dashboards.vm import VM

#: The first is where Grafana opens.
ALL: tuple[Dashboard, ...] = (DATACENTER, HOST, VM, MIGRATIONS, AVAILABILITY, STORAGE)
