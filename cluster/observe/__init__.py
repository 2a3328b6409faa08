"""What Prometheus and Grafana are given to watch a datacenter: rules, dashboards, configuration."""
