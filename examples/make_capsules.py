"""Make `examples/capsules/` from `examples/clusters/`: the capsule of each recorded fault.

The steps `triage` and `context` write them, as they do on a cluster; only the store is in memory.
`python examples/make_capsules.py` writes them anew; a test compares their bytes.
"""

from __future__ import annotations

import datetime as dt
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from faultline import keys
from faultline.adapters.manifests import NoManifests
from faultline.adapters.sources.alert import AlertSource
from faultline.adapters.sources.cluster import ClusterSource
from faultline.adapters.sources.recorded import RecordedCluster
from faultline.adapters.stores.memory import MemoryStore
from faultline.bridge.alertmanager import faults, parse
from faultline.bridge.events import event_of
from faultline.capsule import belongs
from faultline.incidents import Incidents
from faultline.model import JobState, Policy, Run
from faultline.ports import Ports
from faultline.steps.context import context
from faultline.steps.triage import triage

EXAMPLES = Path(__file__).resolve().parent
NOW = dt.datetime(2026, 11, 21, 10, 0, tzinfo=dt.UTC)


class NoRunner:
    """Nothing is run: a capsule is what is there before."""

    def start(self, run: Run) -> None:
        raise NotImplementedError

    def state(self, run: Run) -> JobState:
        return JobState.ABSENT

    def live(self) -> list[str]:
        return []

    def cancel(self, run: Run) -> None:
        raise NotImplementedError


def make(cluster: Path) -> Mapping[str, bytes]:
    """Return the files of the capsule of one recorded cluster, by name."""
    store = MemoryStore()
    body = (cluster / "alert.json").read_bytes()
    key = keys.payload(NOW.date(), body)
    store.put(key, body)
    fault = faults(parse(body), cluster="prod-a", payload=key)[0]
    ports = Ports(
        incidents=Incidents(store),
        runner=NoRunner(),
        sources=[AlertSource(store.get), ClusterSource(RecordedCluster(cluster))],
        manifests=NoManifests(),
        outlets=[],
        sink=None,  # type: ignore[arg-type]  # nothing is sent
        policy=Policy(),
        clock=lambda: NOW,
    )
    opened = triage(event_of(fault, cleared=False, cluster="prod-a", time=NOW), ports)
    assert opened is not None
    assert opened.subject
    context(opened, ports)
    folder = keys.incident(opened.subject)
    found = {key.removeprefix(folder): store.get(key) for key in store.list(folder)}
    truth = (cluster / "truth.json").read_bytes()
    return {name: data for name, data in found.items() if belongs(name)} | {"truth.json": truth}


def main() -> int:
    for cluster in sorted((EXAMPLES / "clusters").iterdir()):
        target = EXAMPLES / "capsules" / cluster.name
        shutil.rmtree(target, ignore_errors=True)
        for name, data in make(cluster).items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        print(f"{cluster.name}: {sum(1 for p in target.rglob('*') if p.is_file())} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
