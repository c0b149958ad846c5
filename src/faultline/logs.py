"""One JSON object a line on standard error, with the fields that every line has.

Only entrypoints call `configure`. Text from outside keeps no line feed and no escape: JSON has
none. Fields: `timestamp`, `level`, `component`, `event`, `incident_id`, and what the line adds.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys

from faultline.errors import Rejected
from faultline.redact import redact

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
ADDED = ("step", "cluster", "run", "status", "sender", "bytes", "stream", "traceparent")


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; secrets are taken out of its text."""

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, object] = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "component": record.name.removeprefix("faultline."),
            "message": redact(record.getMessage()),
            "incident_id": getattr(record, "incident", None),
            "event": getattr(record, "event", None),
        }
        line |= {name: getattr(record, name) for name in ADDED if hasattr(record, name)}
        if record.exc_info:
            line["error"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, default=str, ensure_ascii=True)


def configure(level: str) -> None:
    """Send log lines of this process to standard error. Raises Rejected for an unknown level."""
    if level.lower() not in LEVELS:
        raise Rejected(f"log_level: expected debug, info, warn or error, got {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=LEVELS[level.lower()], handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
