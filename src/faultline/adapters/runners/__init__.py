"""Runners: who carries a run, and whether it lives. The port is `ports.Runner`."""
