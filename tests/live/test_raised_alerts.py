"""What a Prometheus says of alerts, as it says it."""

from __future__ import annotations

from typing import Any

from cluster.live.raised_alerts import Raised, raised_of


def series(name: str, values: list[tuple[float, str]], **labels: str) -> dict[str, Any]:
    alert = {"__name__": name, "alertname": "FusionHostDown", "severity": "critical", **labels}
    return {"metric": {"datacenter": "lab", **alert}, "values": [list(each) for each in values]}


def test_an_alert_that_comes_again_is_told_twice() -> None:
    active = [
        # Since 100 and again since 200; another host since 104, for less than it takes to fire.
        series(
            "ALERTS_FOR_STATE",
            [(105.0, "100"), (110.0, "100"), (115.0, "100"), (205.0, "200"), (210.0, "200")],
            host="cna-01",
        ),
        series("ALERTS_FOR_STATE", [(105.0, "104")], host="cna-02"),
    ]
    fired = [(110.0, "1"), (115.0, "1"), (210.0, "1")]
    firing = [series("ALERTS", fired, host="cna-01", alertstate="firing")]
    assert raised_of(active, firing) == [
        Raised("FusionHostDown", "critical", "cna-01", 100.0, 110.0),
        Raised("FusionHostDown", "critical", "cna-02", 104.0, None),
        Raised("FusionHostDown", "critical", "cna-01", 200.0, 210.0),
    ]
