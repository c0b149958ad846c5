"""What a cluster says of where an object comes from. Filled by `delivery.py`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hints:
    """What a cluster says of where an object comes from. Empty: nothing is known."""

    by: str = ""  # the object that delivers it, such as Application shop
    directories: tuple[str, ...] = ()  # that it is delivered from; "" is the top
    files: tuple[str, ...] = ()  # ends of the paths of files that the object was written in
    release: str = ""  # of a Helm chart
    values: tuple[str, ...] = ()  # its values files, relative to the chart; the last one wins
    refusal: str = ""  # why no file decides what is deployed
