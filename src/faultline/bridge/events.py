"""What every intake shares: strict JSON, severities, safe links, and the event of a fault. Pure.

The intakes (`alertmanager.py`, `mcp.py`) make the Fault; `wire.py` sends what is made here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

from faultline import keys
from faultline.correlate import WORKLOAD_LABELS, correlation_key
from faultline.errors import Rejected
from faultline.event import FAULT_CLEARED, FAULT_DETECTED, Event, format_time, parse_time
from faultline.model import Fault, Severity
from faultline.strict_json import loads

annotation_chars_max = 4_096  # the message as it came keeps the rest

_SEVERITIES = {
    **dict.fromkeys(("critical", "error", "fatal", "page", "emergency"), Severity.CRITICAL),
    **dict.fromkeys(("warning", "warn"), Severity.WARNING),
    **dict.fromkeys(("info", "information", "notice", "debug", "none"), Severity.INFO),
}
# Printable ASCII without quotes, angles and backslashes, and no user name or password in front.
_WEB = re.compile(r"https?://[^\s/@\\?#]+(?:[/?#][!#-;=?-\[\]-_a-~]*)?", re.ASCII | re.IGNORECASE)
_KUBERNETES_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?")
_GO_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(\.\d+)? ([+-]\d\d)(\d\d)\b.*", re.ASCII)


def strict_json(body: bytes | str) -> Any:
    """Return the JSON value of a message. Raises Rejected for all that two readers differ on."""
    try:
        return loads(body if isinstance(body, bytes) else body.encode("utf-8"))
    except ValueError as error:
        raise Rejected(f"expected JSON, got something else: {str(error)[:120]}") from None


def severity_of(text: object) -> Severity:
    """Map a foreign severity to ours; a missing or unknown one is a warning."""
    said = text.strip().lower() if isinstance(text, str) else ""
    return _SEVERITIES.get(said, Severity.WARNING)


def web_links(**addresses: object) -> dict[str, str]:
    """Return those that are plain http(s) addresses, by title (`_` becomes a space).

    They are shown to people and never requested by us. Anything else is left out.
    """
    return {
        title.replace("_", " "): address
        for title, address in addresses.items()
        if isinstance(address, str) and len(address) <= 2_048 and _WEB.fullmatch(address)
    }


def name_or_nothing(text: object) -> str:
    """Return `text` if Kubernetes could have given it as a name, else the empty string."""
    return text if isinstance(text, str) and _KUBERNETES_NAME.fullmatch(text) else ""


def cluster_or(text: object, configured: str) -> str:
    """Return the cluster that a message names, or the configured one if it names none."""
    usable = isinstance(text, str) and 0 < len(text) <= 253 and text not in (".", "..")
    return text if isinstance(text, str) and usable and text.isprintable() else configured


def shortened(text: str) -> str:
    """Cut a description to `annotation_chars_max`, visibly."""
    if len(text) <= annotation_chars_max:
        return text
    return text[: annotation_chars_max - 1] + "…"


def moment(text: str) -> dt.datetime:
    """Read a time stamp: RFC 3339, or as Go prints one. Raises Rejected for any other."""
    if match := _GO_TIME.fullmatch(text):
        day, clock, fraction, hours, minutes = match.groups()
        text = f"{day}T{clock}{fraction or ''}{hours}:{minutes}"
    try:
        return parse_time(text)
    except ValueError as error:
        raise Rejected(str(error)[:200]) from None


def event_of(
    fault: Fault,
    *,
    cleared: bool,
    cluster: str,
    time: dt.datetime,
    clean: Callable[[str], str] | None = None,
) -> Event:
    """Return the event that says so: `fault.detected`, or `fault.cleared` when it is over.

    `cluster` names the bridge that speaks; the fault's own cluster is in the event's attributes.
    Its id is the occurrence, so whatever is repeated is the same event. `clean` takes secrets out
    of the texts; it does not touch what identity rests on.
    """
    if clean:
        fault = cleaned(fault, clean)
    what = "cleared" if cleared else "detected"
    subject = correlation_key(fault)
    return Event(
        id=f"{fault.occurrence}/{what}",
        source=f"/faultline/bridge/{keys.part(cluster)}",
        type=FAULT_CLEARED if cleared else FAULT_DETECTED,
        subject=subject,
        time=format_time(time),
        data=fault.model_dump(mode="json"),
        extensions={
            "partitionkey": subject,
            "correlationid": subject,
            "severity": fault.severity.value,
            "cluster": fault.cluster,
        },
    )


_NAMES = frozenset({*WORKLOAD_LABELS, "namespace", "pod", "node", "cluster", "alertname"})


def cleaned(fault: Fault, clean: Callable[[str], str]) -> Fault:
    """Return the fault with `clean` applied to its texts and labels; what identifies it stays."""
    labels = {k: v if k in _NAMES else clean(v) for k, v in fault.labels.items()}
    return fault.model_copy(
        update={
            "condition": fault.condition or fault.fingerprint,  # of the labels as they came
            "summary": clean(fault.summary),
            "annotations": {k: clean(v) for k, v in fault.annotations.items()},
            "labels": labels,
            "links": {k: clean(v) for k, v in fault.links.items()},
        }
    )
