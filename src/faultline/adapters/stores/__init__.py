"""Choose a store by its URL, and refuse one that cannot keep the promise of `store.py`.

    memory:                                     forgets at exit
    file://.faultline/store, file:///var/lib/…  a directory, relative or absolute
    s3://bucket/prefix?endpoint=http://…        S3 and what speaks like it
    gateway+http://…                            what one agent run may see of a store

Each adapter stands in a file of its own; `tests/contract/test_store.py` holds all to one contract.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from faultline import keys
from faultline.errors import AlreadyExists, Rejected
from faultline.store import Store

_PROBE_TEXT = (
    b"Faultline writes this twice at each start. A store that accepts the second write\n"
    b"does not know conditional writes, and Faultline refuses to run on it.\n"
)


def open_store(url: str, *, sleep: Callable[[float], None] = time.sleep) -> Store:
    """Return the store that `url` names. Raises Rejected for a URL that names none.

    `sleep` is what a store waits with between its attempts, in seconds.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory":
        from faultline.adapters.stores.memory import MemoryStore

        return MemoryStore()
    if scheme == "file" and rest.removeprefix("//"):
        from faultline.adapters.stores.files import FilesStore

        return FilesStore(rest.removeprefix("//"))
    if scheme == "s3" and urlsplit(url).netloc:
        return _open_s3(url, sleep)
    if scheme in ("gateway+http", "gateway+https") and urlsplit(url).netloc:
        from faultline.adapters.stores.gateway import GatewayStore

        return GatewayStore(url.removeprefix("gateway+"))
    raise Rejected(
        "expected a store such as memory:, file://.faultline/store or s3://bucket/prefix, "
        f"got {_without_password(url)!r}"
    )


def probe(store: Store) -> None:
    """Write `probe.txt` twice. Raises Rejected if the store takes the second write as well.

    Whoever wrote it first, this process or one years ago, does not matter.
    """
    for _ in range(2):
        try:
            store.put(keys.PROBE, _PROBE_TEXT, if_absent=True)
        except AlreadyExists:
            return
    raise Rejected(
        f"the store took {keys.PROBE} twice although it was told to write only if absent: it "
        "ignores conditional writes (If-None-Match), so two incidents could own one condition. "
        "Faultline refuses to run on it; use a store that answers 412 to the second write"
    )


def checked(key: str) -> str:
    """Return `key` if it is a path of plain parts. Raises Rejected for what could leave its folder.

    `keys.py` never builds such a key; this is the second lock on that door.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in key or not is_text(key):
        raise Rejected(f"expected a key such as incidents/<id>/event.json, got {key[:200]!r}")
    return key


def is_text(text: str) -> bool:
    """Say whether it can be written as UTF-8; a file's name that is not text has surrogates."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _open_s3(url: str, sleep: Callable[[float], None]) -> Store:
    from faultline.adapters.stores.s3 import S3Store

    split = urlsplit(url)
    asked = {name: values[-1] for name, values in parse_qs(split.query).items()}
    if unknown := asked.keys() - {"endpoint", "region"}:
        raise Rejected(f"expected ?endpoint= or &region= in the store's URL, got {sorted(unknown)}")
    return S3Store(
        split.netloc,
        split.path,
        endpoint=asked.get("endpoint", ""),
        region=asked.get("region", ""),
        sleep=sleep,
    )


def _without_password(url: str) -> str:
    return url.rsplit("@", 1)[-1][:120]
