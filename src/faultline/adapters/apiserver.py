"""The API server, asked over HTTP: within limits, read only, and for reviews of our own rights.

The one thing that we may ever leave there, where an operator wants it, is an Event.
Who it is, and who we are, is `kubeconfig.py`'s; what is asked `sources/live.py`'s.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from faultline.adapters import kubeconfig
from faultline.errors import Rejected, Unavailable
from faultline.limits import tool_objects_bytes_max, tool_read_s_max

Object = dict[str, Any]
Answer = tuple[int, bytes]
Get = Callable[[str, dict[str, str]], Answer]  # path and query -> status and body
Review = Callable[[str, Object], Object]  # kind and spec of a review -> its answer
Write = Callable[[str, Object], int]  # namespace and Event -> status
Connection = tuple[Any, Callable[[], dict[str, str]]]  # client, and headers that say who we are

ANSWER_S = tool_read_s_max
OURS = "faultline.dev/faultline"  # who says it, in an Event of ours
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1123, as namespaces are named


def parsed(body: bytes) -> Object:
    """Return the object in an answer. Raises Unavailable if it is none, or was cut."""
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable("expected a JSON object from the API server, and not too large a one")
    return found


def connect(left: Callable[[], float] = lambda: ANSWER_S) -> Get:
    """Return GET on the cluster that this process runs in, or of KUBECONFIG.

    `left` says how many seconds an answer may take as a whole. One of more bytes than a list may
    have is cut.
    """
    ask = _client()

    def get(path: str, query: dict[str, str]) -> Answer:
        if (seconds := left()) <= 0:
            raise Unavailable("the time for this answer is used up")
        return ask("GET", path, seconds, params=query)

    return get


def review(group: str = "authorization.k8s.io") -> Review:
    """Return POST of one of the reviews by which an account asks for its own rights.

    Of `authentication.k8s.io` it asks whose a token is. They are not stored anywhere.
    """
    ask = _client()

    def post(what: str, spec: Object) -> Object:
        body = {"apiVersion": f"{group}/v1", "kind": what, "spec": spec}
        path = f"/apis/{group}/v1/{what.lower()}s"
        status, answer = ask("POST", path, ANSWER_S, json=body)
        if status not in (200, 201):
            raise Unavailable(f"{what}: the API server answered {status}")
        return parsed(answer)

    return post


def by_others(events: Iterable[Object]) -> Iterator[Object]:
    """Yield the Events that are not our own: what we said is no evidence. As core/v1 has them."""
    return (event for event in events if event.get("reportingComponent") != OURS)


def event_writer(connection: Connection | None = None) -> Write:
    """Return POST of an Event (events.k8s.io/v1), the only object that is ever made in a cluster.

    It says what we found and changes nothing. Raises Rejected for what is no namespace's name.
    """
    ask = _client(connection)

    def post(namespace: str, event: Object) -> int:
        if not _LABEL.fullmatch(namespace):  # nothing else may become part of the path
            raise Rejected(f"expected the name of a namespace, got {namespace[:80]!r}")
        path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
        return ask("POST", path, ANSWER_S, json=event)[0]

    return post


def _client(connection: Connection | None = None) -> Callable[..., Answer]:
    """Return a function that makes one request within a time."""
    import httpx

    api, credentials = connection or kubeconfig.connection()

    def ask(method: str, path: str, seconds: float, **what: Any) -> Answer:
        headers, timeout = credentials(), kubeconfig.TIMEOUT_S
        try:
            with api.stream(method, path, headers=headers, timeout=timeout, **what) as answer:
                return answer.status_code, _bounded(answer.iter_bytes(), seconds)
        except httpx.HTTPError as error:
            raise Unavailable(f"the API server did not answer: {type(error).__name__}") from None

    return ask


def _bounded(chunks: Iterator[bytes], seconds: float) -> bytes:
    """Read an answer, at most so many bytes of it. Raises Unavailable when the time is over."""
    parts, size, end = [], 0, time.monotonic() + seconds
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > tool_objects_bytes_max:
            break
        if time.monotonic() > end:
            raise Unavailable(f"the API server had no whole answer within {seconds:.0f} s")
    return b"".join(parts)[:tool_objects_bytes_max]
