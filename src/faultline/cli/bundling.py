"""An incident in one file: for a ticket, an archive, another machine.

Names in the archive are the store's keys, so an unpacked one is a store with one incident in it.
"""

from __future__ import annotations

import argparse
import gzip
import io
import tarfile
from pathlib import Path

from faultline import keys
from faultline.cli.common import incidents_of, resolve, say
from faultline.errors import Rejected
from faultline.incidents import Incidents


def bundle(arguments: argparse.Namespace) -> int:
    memory = incidents_of(arguments)
    incident_id = resolve(memory, arguments.incident)
    packed = pack(memory, incident_id)
    _write(arguments.out, packed)
    say(f"{len(packed)} bytes in {arguments.out}")
    say("unpack it into an empty folder, then: faultline show last --store file://FOLDER")
    return 0


def pack(incidents: Incidents, incident_id: str) -> bytes:
    """Return a tar.gz of all records and pages of an incident; the same records, the same bytes."""
    opened_at = int(incidents.incident(incident_id).opened_at.timestamp())
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=opened_at) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(incidents.names(incident_id)):
            data = incidents.read(incident_id, name)
            entry = tarfile.TarInfo(keys.incident(incident_id, name))
            entry.size, entry.mtime, entry.mode = len(data), opened_at, 0o600
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def _write(path: Path, data: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise Rejected(f"expected no {path}, there is one: name another file") from None
    except OSError as error:
        raise Rejected(f"cannot write {path}: {error.strerror}") from None
