"""How a finding is put together: sentences of plain words, evidence that is there, no duplicates.

Text of the cluster enters sentences only as names, cut and on one line; messages and log lines are
quoted as evidence. `render.py` makes the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from faultline.limits import statement_chars_max, title_chars_max
from faultline.model import Action, Certainty, Change, Evidence, Finding

HINT, LIKELY, PROVED = Certainty.HINT, Certainty.LIKELY, Certainty.PROVED

_REDACTED = re.compile(r"(?i)redacted|\*\*\*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def one_line(value: object, most: int = 120) -> str:
    """Return foreign text as it may stand in a sentence: one line, no control characters, cut."""
    text = _CONTROL.sub(" ", str(value)).strip()
    return text if len(text) <= most else text[: most - 1] + "…"


def redacted(value: object) -> bool:
    """Say whether a value has lost a secret on its way here: then it can be proposed nowhere."""
    return bool(_REDACTED.search(str(value)))


def finding(
    analyzer: str,
    certainty: Certainty,
    title: str,
    statement: str,
    evidence: Iterable[Evidence | None],
    *,
    rules_out: tuple[str, ...] = (),
    actions: Iterable[Action] = (),
    changes: Iterable[Change] = (),
) -> Finding:
    """Make a finding; evidence that could not be found is left out, and repeated evidence too."""
    return Finding(
        analyzer=analyzer,
        certainty=certainty,
        title=one_line(title, title_chars_max),
        statement=one_line(statement, statement_chars_max),
        evidence=tuple(dict.fromkeys(e for e in evidence if e is not None)),
        rules_out=rules_out,
        actions=tuple(actions),
        changes=tuple(changes),
    )


def proved_if(condition: object) -> Certainty:
    return PROVED if condition else LIKELY


def restore(what: str, check: str) -> Action:
    """Return the usual step: put it right in Git, see the rollout become ready, or revert."""
    return Action(action=what, check=check, way_back="Revert the commit; the rollout follows.")


def becomes_ready(workload: object) -> str:
    """Return how one sees that a change helped."""
    return f"{workload} finishes its rollout and all its pods stay ready for ten minutes."
