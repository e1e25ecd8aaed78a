"""Alerts: metrics as exporters show them, rules over them, and what these rules would have done. `promql` certifies against promtool."""
