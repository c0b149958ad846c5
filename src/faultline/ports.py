"""What steps need of the outside, as small as it can be. `bootstrap.py` chooses who provides it.

Every method raises Unavailable (try again) when the other side did not answer, and never an error
of its vendor.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from faultline.event import Event
from faultline.incidents import Incidents
from faultline.model import Incident, JobState, Merged, Policy, Receipt, Report, Run
from faultline.traces import Spans

if TYPE_CHECKING:
    from faultline.charts import Render


class Runner(Protocol):
    """Starts runs and knows whether they live."""

    def start(self, run: Run) -> None:
        """Start the run's Job. Once per run id: a second call is a no-op.

        Raises Busy where there is no room for it now.
        """
        ...

    def state(self, run: Run) -> JobState:
        """Say whether the run's Job is there and lives."""
        ...

    def live(self) -> Sequence[str]:
        """Return the ids of the runs whose Jobs live."""
        ...

    def cancel(self, run: Run) -> None:
        """Ask the run to stop: interrupt, grace, kill. A no-op if it is gone."""
        ...


class Source(Protocol):
    """A context source: someone who knows about a fault."""

    name: str

    def collect(self, incident: Incident) -> Iterator[tuple[str, bytes]]:
        """Yield (name in the capsule, bytes), unredacted. Raises FaultlineError, with the reason,
        if it has nothing to say."""
        ...


class Manifests(Protocol):
    """The repository that the cluster is deployed from."""

    def files(self) -> Mapping[str, bytes]:
        """Return path -> content of every manifest, at one revision."""
        ...

    def revision(self) -> str:
        """Name that revision; "" where there is none."""
        ...


class Outlet(Protocol):
    """A place where people hear of an incident."""

    name: str

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Tell the outlet, or edit what it was told before (then it gets the receipt back).

        Without a receipt it first looks for its own earlier work by the incident's id and adopts
        it. It never reopens what a person closed and never pushes over a person's commits.
        """
        ...

    def merged(self, receipt: Receipt) -> Merged | None:
        """Say whether people merged what was proposed there. None: not yet, or nothing to merge."""
        ...


@runtime_checkable
class Early(Outlet, Protocol):
    """An outlet whose people hear that something is wrong before it is known what."""

    def begun(self, incident: Incident) -> None:
        """Say it, once: a second call is a no-op. Nobody waits for it."""
        ...


class Sink(Protocol):
    """Where one event goes."""

    def send(self, event: Event) -> None:
        """Return once the event is durable on the other side."""
        ...


@runtime_checkable
class Batches(Sink, Protocol):
    """A sink that can take the events of one message together, all of them or none."""

    def send_all(self, events: Sequence[Event]) -> None:
        """Return once all are durable on the other side."""
        ...


@dataclass(frozen=True)
class Ports:
    """What a step receives beside its event."""

    incidents: Incidents
    runner: Runner
    sources: Sequence[Source]
    manifests: Manifests
    outlets: Sequence[Outlet]
    sink: Sink
    policy: Policy
    clock: Callable[[], dt.datetime]
    spans: Spans | None = None  # where spans go; None: tracing is off
    render: Render | None = None  # renders Helm charts; None: helm is not installed


Step = Callable[[Event, Ports], Event | None]
