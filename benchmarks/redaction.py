"""P8: megabytes of log a second through the gate that takes secrets out, without extras.

Three megabytes of an application's lines with a secret in every five-hundredth; the text of a
cluster's objects as JSON; and lines in which words like `token` and `key` are everywhere.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterator

from measure import Figure, in_turn
from measure import main as alone

from faultline.redact import Redactor
from faultline.redact import text as finder

MB = 1_000_000


def logs(size: int) -> bytes:
    line = (
        '2026-11-21T10:00:{n:02d}.123Z INFO  shop.checkout [req-{n:06x}] GET /cart/{n} 200 '
        'in {n} ms user=anna trace=4bf92f3577b34da6a3ce929d{n:08x}\n'
    )  # fmt: skip
    secret = "2026-11-21T10:00:00Z ERROR shop.db postgres://shop:Tr0ub4dor3x@db:5432/shop refused\n"
    found, number, length = [], 0, 0
    while length < size:
        found.append(secret if number % 500 == 0 else line.format(n=number % 60 + number))
        length += len(found[-1])
        number += 1
    return "".join(found).encode()


def objects(size: int) -> bytes:
    pod = {
        "kind": "Pod",
        "metadata": {"name": "api-7d9f6c5b4-x2x9z", "namespace": "shop", "labels": {"app": "api"}},
        "spec": {"containers": [{"name": "app", "image": "registry.example/api:1.2.3",
                 "env": [{"name": "MODE", "value": "fast"}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"},
    }  # fmt: skip
    count = size // len(json.dumps(pod))
    return json.dumps({"items": [pod] * count}).encode()


def dense(size: int) -> bytes:
    line = b"level=info msg=refreshed token_count=12 key=shop/cart secret_name=db auth=ok pass=1\n"
    return line * (size // len(line))


def figures(quick: bool) -> Iterator[Figure]:
    size = MB if quick else 3 * MB
    texts = {"logs": logs(size), "objects, as JSON": objects(size // 3), "dense": dense(size // 3)}
    names = {"logs": "x.txt", "objects, as JSON": "x.json", "dense": "x.txt"}
    cases = {what: functools.partial(_rate, names[what], text) for what, text in texts.items()}
    found = in_turn(cases, 3)
    for what, rate in found.items():
        target = 5.0 if what == "logs" else None
        yield Figure("P8", f"secrets out of {what}", rate, "MB/s", target=target, by="value",
                     more_is_better=True)  # fmt: skip
    worst = max(_seconds(text) for text in hostile(100_000, quick))
    yield Figure("P8", "secrets out of 100 kB of the worst text", worst * 1000, "ms", target=50.0,
                 by="value")  # fmt: skip


def hostile(size: int, quick: bool) -> Iterator[bytes]:
    """Yield texts made against each rule: its keyword, and what almost follows, again and again."""
    fillers = (b"", b"= ") if quick else (b"", b"= ", b' : "', b" " * 300, b"A" * 220, b"=aB3" * 60)
    for keyword in sorted({rule.keyword for rule in finder.rules()}):
        for filler in fillers:
            unit = keyword + filler
            yield (unit * (size // len(unit) + 1))[:size]


def _seconds(text: bytes) -> float:
    start = time.thread_time()
    finder.find(text)
    return time.thread_time() - start


def _rate(name: str, text: bytes) -> float:
    redactor = Redactor("20261121-api-5c1e9b2a")
    start = time.thread_time()
    redactor.file(name, text)
    return len(text) / (time.thread_time() - start) / MB


if __name__ == "__main__":
    alone(figures, __doc__)
