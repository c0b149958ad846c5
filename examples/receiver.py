"""Print what Faultline's webhook outlet sends, after checking that it is from Faultline.

    FAULTLINE_NOTIFY_SECRET=whsec_... python examples/receiver.py 9000
    FAULTLINE_NOTIFY_URL=http://127.0.0.1:9000/ FAULTLINE_NOTIFY_SECRET=whsec_... faultline demo

Needs nothing but Python. A starting point for a receiver of your own: check the signature over the
raw bytes before reading them, refuse what is older than five minutes, and remember ids for longer
than that, because a message may come twice.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

TOLERANCE_S = 300
BODY_BYTES_MAX = 4 * 1024 * 1024


def problem(headers: Mapping[str, str], body: bytes, secret: str, now: float) -> str:
    """Say why a message is not to be trusted; "" if it is. Source: Standard Webhooks."""
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id or not stamp.isdecimal():
        return "expected webhook-id and webhook-timestamp"
    if abs(now - int(stamp)) > TOLERANCE_S:
        return "too old, or from the future"
    key = base64.b64decode(secret.removeprefix("whsec_"))
    made = hmac.new(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    wanted = "v1," + base64.b64encode(made).decode()
    given = headers.get("webhook-signature", "").split(" ")
    if not any(hmac.compare_digest(wanted.encode(), one.encode()) for one in given):
        return "the signature does not match"
    return ""


class Receiver(BaseHTTPRequestHandler):
    """Answers 204 to what is in order, 401 to what is not."""

    seen: ClassVar[dict[str, float]] = {}
    secret = ""

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            return self.answer(413)
        body = self.rfile.read(int(length))
        reason = problem(self.headers, body, self.secret, time.time()) if self.secret else ""
        if reason:
            print("refused:", reason, flush=True)
            return self.answer(401)
        id = self.headers.get("webhook-id", "")
        again = id in self.seen
        self.seen[id] = time.time()
        print("again:" if again else "got:", id, flush=True)
        if not again:
            print(json.dumps(json.loads(body), indent=2, ensure_ascii=True), flush=True)
        return self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    Receiver.secret = os.environ.get("FAULTLINE_NOTIFY_SECRET", "")
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    server = ThreadingHTTPServer(("127.0.0.1", port), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_address[1]}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
