"""Where records are kept: the port. Its comments are the contract that `test_store.py` checks.

Adapters: `adapters/stores/memory.py`, `files.py` (`file://`), `s3.py` (`s3://`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from faultline.errors import AlreadyExists


class Store(Protocol):
    """Named bytes. A key is a `/`-separated path as `keys.py` builds it."""

    def get(self, key: str) -> bytes:
        """Return what was put. Raises NotFound. What was put before is seen: read-after-write."""
        ...

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        """Write all of it or nothing, durably; returns when it would survive a crash.

        With `if_absent`, exactly one of any number of racing writers returns; the others, and all
        who come later, get AlreadyExists, and nothing is changed. Without it, the last one wins.
        The content type follows the key's ending (`keys.content_type`). After a lost reply the
        outcome is unknown, and the caller may simply call again.
        """
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that starts with `prefix`, in order of its UTF-8 bytes, however deep."""
        ...

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders that start with `prefix`, in order, without the slash and
        what is above them: `a/` gives those in `a`, `a/2026` those of them that start with 2026."""
        ...


# Every method raises StoreDown if the store did not answer, and never any error of its vendor.


def put_once(store: Store, key: str, data: bytes) -> bool:
    """Write unless something is there; return whether it was written. Raises StoreDown."""
    try:
        store.put(key, data, if_absent=True)
    except AlreadyExists:
        return False
    return True
