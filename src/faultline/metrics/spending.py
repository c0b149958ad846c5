"""What agent runs may still spend, who waits, and which engine rests: readings of the ledger."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator

from faultline.admission import State
from faultline.incidents import Incidents
from faultline.ledger import standing
from faultline.metrics import Reading, Source
from faultline.model import Policy

STATES = {State.CLOSED: 0.0, State.PROBING: 0.5, State.OPEN: 1.0}
SCOPES = ("day", "month", "total")  # those of namespaces have too many names


def spending(incidents: Incidents, policy: Policy, clock: Callable[[], dt.datetime]) -> Source:
    """Return the source over the ledger. It raises Unavailable when the store does not answer."""

    def readings() -> Iterator[Reading]:
        found = standing(incidents, policy, clock())
        yield Reading("faultline_agent_runs_waiting", (), len(found.waiting))
        for breaker in found.breakers:
            state = STATES[breaker.state]
            yield Reading("faultline_breaker_state", (breaker.engine,), state)
        for row in found.rows:
            if row.scope in SCOPES and row.limit.tokens:
                left = max(0, row.limit.tokens - row.used.tokens)
                yield Reading("faultline_budget_remaining", (row.scope, "tokens"), left)
            if row.scope in SCOPES and row.limit.usd:
                usd = max(0.0, row.limit.usd - row.used.usd)
                yield Reading("faultline_budget_remaining", (row.scope, "usd"), usd)

    return readings
