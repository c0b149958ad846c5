"""A runner that starts nothing: for tests of the flow, which decide themselves how a run ends."""

from __future__ import annotations

from collections.abc import Sequence

from faultline import keys
from faultline.event import Event, from_json
from faultline.incidents import Incidents
from faultline.model import JobState, Result, Run


class InlineRunner:
    """Keeps the runs it was asked to start; `finish` and `lose` are what a Job would do."""

    def __init__(self) -> None:
        self.started: dict[str, Run] = {}
        self.cancelled: list[str] = []
        self._live: set[str] = set()

    def start(self, run: Run) -> None:
        if run.id not in self.started:
            self.started[run.id] = run
            self._live.add(run.id)

    def state(self, run: Run) -> JobState:
        if run.id in self._live:
            return JobState.LIVE
        return JobState.ENDED if run.id in self.started else JobState.ABSENT

    def live(self) -> Sequence[str]:
        return sorted(self._live)

    def cancel(self, run: Run) -> None:
        if run.id in self._live:
            self.cancelled.append(run.id)

    def finish(self, result: Result, incidents: Incidents) -> Event:
        """End a run with this result; return the event that its Job would have sent."""
        run = self.started[f"{result.incident_id}-{result.run}"]
        incidents.record(run.incident_id, keys.run_record(run.number, keys.RESULT), result)
        self.lose(run)
        data = result.model_dump(mode="json")
        return from_json(run.cause).run_finished(run.incident_id, run.number, data)

    def lose(self, run: Run) -> None:
        """End a run without a word, as a node that vanishes does."""
        self._live.discard(run.id)
