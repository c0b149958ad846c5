"""Connections and lookups that a program says did not work, as its libraries word them. Pure.

Wordings of: Go's net, libpq, curl, urllib3, redis-py, MySQL clients, nginx, Node.js, the JVM's HTTP
clients. Only time-outs while connecting count: one while reading comes from who was reached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from faultline.diagnosis.facts import Part
from faultline.model import Evidence

TIMED_OUT, REFUSED = "timed out", "refused"


@dataclass(frozen=True)
class Attempt:
    """A connection that was not made: to whom, and how it ended."""

    part: Part
    host: str
    port: int
    outcome: str
    evidence: Evidence


_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?)"
_PORT = r"(?P<port>\d{1,5})"
_AT = rf"{_HOST}:{_PORT}"
_WORDS = {
    TIMED_OUT: r"(?:i/o timeout|(?:[Cc]onnect(?:ion)?:? )?[Tt]imed out|timeout expired|ETIMEDOUT"
    r"|Timeout was reached|(?:errno )?110\b)",
    REFUSED: r"(?:[Cc]onnection [Rr]efused|ECONNREFUSED|refused|(?:errno )?111\b)",
}
_CARRIERS = (
    rf"dial tcp {_AT}: (?:connect: )?%s",
    rf"connect %s {_AT}\b",
    rf'connection to server at "{_HOST}"(?: \([^)]{{1,60}}\))?, port {_PORT} failed: %s',
    rf"[Ff]ailed to connect to {_HOST}(?: \([^)]{{1,60}}\))? port {_PORT}(?: after \d+ ms)?: %s",
    rf"Error 11[01] connecting to {_AT}\. %s",
    rf"server on '{_HOST}:{_PORT}' \(.{{0,20}}?%s",
    rf'\((?:\d+: )?%s\) while connecting to upstream.{{1,400}}?upstream: "\w+://{_AT}',
    rf"[Cc]onnect(?:ion)? to {_AT}(?: \[[^\]]{{1,100}}\])?(?: failed)?:? %s",
)
_POOL = rf"ConnectionPool\(host='{_HOST}', port={_PORT}\).{{1,400}}?%s"
_POOL_WORDS = {
    TIMED_OUT: r"(?:ConnectTimeoutError|connect timeout=|Errno 110)",
    REFUSED: r"(?:Connection refused|Errno 111)",
}
_PATTERNS = {
    outcome: (
        *(re.compile(c % words) for c in _CARRIERS),
        re.compile(_POOL % _POOL_WORDS[outcome]),
    )
    for outcome, words in _WORDS.items()
}

LOOKUP_UNANSWERED = re.compile(
    rf"lookup {_HOST}(?: on (?P<server>[\d.]+|\[[0-9a-f:]+\]):53)?:"
    r" (?:(?:read|write|dial) udp [^:]+:\d+(?:->[^:]+:\d+)?: )?i/o timeout"
    r"|EAI_AGAIN (?P<host2>[a-zA-Z0-9.-]{1,253})"
    r"|host name \"(?P<host3>[a-zA-Z0-9.-]{1,253})\" to address: Temporary failure"
    r"|[Rr]esolving timed out"
    r"|Temporary failure in name resolution"
)


def attempts(part: Part, outcome: str) -> Iterator[Attempt]:
    """Yield where a container could not connect to, the last line of each wording."""
    for pattern in _PATTERNS[outcome]:
        if found := part.logs(pattern):
            match, cited = found
            yield Attempt(part, match["host"].lower(), int(match["port"]), outcome, cited)
