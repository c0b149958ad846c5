"""A rule of a real Prometheus fires, and a branch with the fix lies in a Git repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from line_process import LineProcess, disposed, until
from prometheus_parts import MISSING, TOKEN, WHY, AlertManager, Gauge, Prometheus

from faultline.model import ClosedBecause, Status

pytestmark = [pytest.mark.real, pytest.mark.skipif(bool(MISSING), reason=WHY)]


def test_a_rule_that_fires_becomes_a_branch_and_closes_when_it_resolves(tmp_path: Path) -> None:
    line = LineProcess(tmp_path / "line", FAULTLINE_WEBHOOK_TOKEN=TOKEN)
    alerts = AlertManager(tmp_path / "am", f"http://127.0.0.1:{line.port}/alertmanager")
    with (
        Gauge().serving() as gauge,
        disposed(line),
        alerts.running(),
        Prometheus(tmp_path / "prometheus", gauge.url, alerts.url).running(),
    ):
        incidents = line.start().incidents()

        gauge.value = 1
        until(lambda: list(incidents.ids()), 20, "the rule fired")
        (incident_id,) = incidents.ids()
        until(lambda: incidents.status(incident_id) is Status.PACKAGED, 15, "it was packaged")

        (fault,) = [fault for fault, _ in incidents.faults(incident_id).values()]
        assert (fault.name, fault.summary) == ("CheckoutDown", "Checkout is down")
        (branch,) = line.branches()
        assert "+              memory: 256Mi" in line.git("diff", f"main...{branch}")

        gauge.value = 0
        until(lambda: incidents.closed(incident_id), 20, "the rule resolved")
        closed = incidents.closed(incident_id)
        assert closed is not None
        assert closed.because is ClosedBecause.CLEARED
        assert list(incidents.ids()) == [incident_id]
