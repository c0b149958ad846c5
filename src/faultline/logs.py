"""One JSON object a line on standard error, with the fields that every line has.

Only entrypoints call `configure`. Text from outside keeps no line feed and no escape: JSON has
none. Every line has `timestamp`, `level`, `component`, `event`, `incident_id`, `cluster` and
`trace_id`; those of the work at hand are given once, by `about`, and hold for every line within it.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from faultline.errors import Rejected
from faultline.redact import Redactor

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
SHOWN = {"warning": "warn", "critical": "error"}
CHATTY = ("httpx", "httpcore", "urllib3", "botocore", "boto3", "s3transfer", "kubernetes")
TEXT_MAX = 4_000  # characters of one field; a traceback keeps its end

_OWN = frozenset(vars(logging.LogRecord("", 0, "", 0, "", None, None))) | {"message", "asctime"}
_about: ContextVar[dict[str, Any]] = ContextVar("faultline_about")


@contextlib.contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Say what the lines within are about: `incident_id`, `trace_id`, `event`, …; None: unknown."""
    known = {name: value for name, value in fields.items() if value is not None}
    token = _about.set(_about.get({}) | known)
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """A log record as one line of JSON; secrets are taken out of its text.

    `cluster` is said where a line knows no other; `known` are secrets of this process.
    """

    def __init__(self, *, cluster: str | None = None, known: Iterable[str] = ()) -> None:
        super().__init__()
        self._cluster = cluster
        self._redactor = Redactor(known=known)

    def format(self, record: logging.LogRecord) -> str:
        given = _about.get({}) | {k: v for k, v in vars(record).items() if k not in _OWN}
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        level = record.levelname.lower()
        line: dict[str, Any] = {
            "timestamp": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": SHOWN.get(level, level),
            "component": record.name.removeprefix("faultline."),
            "event": self._plain(given.pop("event", None) or str(record.msg)),
            "incident_id": given.pop("incident", None) or given.pop("incident_id", None),
            "cluster": given.pop("cluster", None) or self._cluster,
            "trace_id": given.pop("trace_id", None),
            "message": self._plain(record.getMessage()),
        }
        line |= {k: self._plain(v) for k, v in given.items() if k not in line and v is not None}
        if record.exc_info:
            line["error"] = self._plain(self.formatException(record.exc_info))
        return json.dumps(line, default=self._plain, ensure_ascii=True)

    def _plain(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        text = self._redactor.text(str(value))
        return text if len(text) <= TEXT_MAX else f"…{text[-TEXT_MAX:]}"


def configure(level: str, *, cluster: str | None = None, known: Iterable[str] = ()) -> None:
    """Send log lines of this process to standard error: also warnings and what nobody caught.

    Raises Rejected for an unknown level.
    """
    if level.lower() not in LEVELS:
        raise Rejected(f"log_level: expected debug, info, warn or error, got {level!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(cluster=cluster, known=known))
    logging.basicConfig(level=LEVELS[level.lower()], handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in CHATTY:  # what they say of requests may hold credentials
        logging.getLogger(name).setLevel(logging.WARNING)
    sys.excepthook = _uncaught
    threading.excepthook = lambda args: _uncaught(args.exc_type, args.exc_value, args.exc_traceback)


def _uncaught(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    if issubclass(kind, SystemExit | KeyboardInterrupt) or error is None:
        return
    logging.getLogger("faultline").critical(
        "nobody caught this: %s", kind.__name__, exc_info=(kind, error, trace)
    )
