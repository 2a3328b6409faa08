"""Where everything is in a folder for Prometheus and Grafana."""

#: Prometheus' configuration, and the rule files beside it.
PROMETHEUS_YML = "prometheus.yml"
RULES = "rules"

#: Dashboards, for Grafana or its sidecar, and what Grafana reads at its start.
DASHBOARDS = "dashboards"
PROVISIONING = "grafana/provisioning"
