"""The command `budgets`: what agent runs have spent and may, who waits, and which engine rests."""

from __future__ import annotations

import argparse
from typing import Any

from faultline.admission import State
from faultline.bootstrap import now, policy
from faultline.cli.common import incidents_of, print_json, say, settings_of
from faultline.ledger import Standing, standing
from faultline.model import Amount


def budgets(arguments: argparse.Namespace) -> int:
    found = standing(incidents_of(arguments), policy(settings_of(arguments)[0]), now())
    if arguments.json:
        print_json(as_json(found))
        return 0
    say(f"{'budget':<44} {'tokens':>12} {'of':>12} {'USD':>9} {'of':>9}")
    for row in found.rows:
        used, limit = row.used, row.limit
        tokens = f"{used.tokens:>12,} {_limit(limit.tokens):>12}"
        say(f"{row.name:<44} {tokens} {used.usd:>9.2f} {_limit(limit.usd):>9}")
    say(f"\n{found.live} running, {len(found.waiting)} waiting")
    for wish in found.waiting:
        say(f"  {wish.run}  {wish.severity.value}, since {wish.since:%H:%M:%S}: {wish.reason}")
    for breaker in found.breakers:
        if breaker.state is not State.CLOSED:
            say(f"{breaker.engine} rests: {breaker.failures} failures in a row ({breaker.reason})")
    return 0


def _limit(most: float) -> str:
    return f"{most:,}" if most else "-"


def as_json(found: Standing) -> dict[str, Any]:
    """Return the same for machines."""

    def amount(of: Amount) -> dict[str, Any]:
        return of.model_dump(mode="json")

    return {
        "budgets": [
            {"scope": r.scope, "name": r.name, "used": amount(r.used), "limit": amount(r.limit)}
            for r in found.rows
        ],
        "running": found.live,
        "waiting": [wish.model_dump(mode="json") for wish in found.waiting],
        "breakers": [
            {"engine": b.engine, "state": b.state.value, "failures": b.failures, "reason": b.reason}
            for b in found.breakers
        ],
    }
