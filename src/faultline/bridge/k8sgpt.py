"""The CloudEvents of k8sgpt-operator to faults. Pure.

The operator sends a new random id at each emission and words its explanation anew each time, so a
finding is known by its resource, kind and object. Format: k8sgpt-ai/k8sgpt-operator, `pkg/sinks`.
It takes 200 alone for success; `app.py` sees to that.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from faultline.bridge.events import name_or_nothing, shortened
from faultline.errors import Rejected
from faultline.limits import statement_chars_max
from faultline.model import Fault, Resource

TYPE = "com.github.k8sgpt-ai.k8sgpt-operator.sinks.cloudevents"

_TEXT = re.compile(r">?\*?\[([^\]]*)\] K8sGPT analysis of the (\S+) (\S+?)\*?")


def fault_of(data: Any, *, cluster: str, now: dt.datetime, payload: str) -> Fault:
    """Return the fault of a finding. Raises Rejected if its heading cannot be read.

    Nobody says when a finding began or ended: it counts as one occurrence a day.
    """
    text = data.get("text") if isinstance(data, dict) else None
    match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise Rejected("expected data.text such as `>*[name] K8sGPT analysis of the Pod ns/name*`")
    whose, kind, place = match.groups()
    namespace, _, name = place.rpartition("/")
    named = name_or_nothing(name) and (not namespace or name_or_nothing(namespace))
    return Fault(
        name="K8sGPT",
        summary=f"K8sGPT reports {kind} {place}"[:statement_chars_max],
        cluster=cluster,
        resource=Resource(kind=kind, name=name, namespace=namespace) if named else None,
        annotations={"explanation": shortened(_explanation(data))},
        starts_at=now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0),
        condition=f"k8sgpt/{whose}/{kind}/{place}",
        origin="cloudevents",
        clears=False,
        payload=payload,
    )


def _explanation(data: dict[str, Any]) -> str:
    parts = data.get("attachments")
    texts = [p.get("text") for p in parts if isinstance(p, dict)] if isinstance(parts, list) else []
    return "\n".join(text for text in texts if isinstance(text, str))
