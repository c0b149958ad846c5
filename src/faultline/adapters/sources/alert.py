"""The message that reported the fault, as its sender wrote it: `context/event.json`.

The step redacts it; the original stays in `payloads/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from faultline.errors import NotFound
from faultline.limits import context_file_bytes_max
from faultline.model import Incident


class AlertSource:
    """Reads the payload that the fault names. `read` takes a key of the store."""

    name = "alert"

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        """Yield the message. Raises NotFound if the fault names none or it is too large to show."""
        key = incident.fault.payload
        if not key:
            raise NotFound("the fault came without its message: nothing stands in payloads/ for it")
        message = self._read(key)
        if len(message) > context_file_bytes_max:
            raise NotFound(
                f"the message has {len(message)} bytes, more than the {context_file_bytes_max} "
                f"of one file in a capsule; it stands in {key}"
            )
        yield "context/event.json", message
