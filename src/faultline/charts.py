"""Helm charts in a repository: where one is."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping


def of(files: Mapping[str, bytes], file: str) -> str | None:
    """Return the directory of the chart that a file belongs to; None if it belongs to none."""
    parts = file.split("/")[:-1]
    above = ("/".join(parts[:depth]) for depth in range(len(parts), -1, -1))
    return next((d for d in above if posixpath.join(d, "Chart.yaml") in files), None)
