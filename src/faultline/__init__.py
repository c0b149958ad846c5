"""Faultline: from a fault in a cluster to the pull request that fixes it."""

__version__ = "0.1.0"
