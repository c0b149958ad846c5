"""The report as JSON, posted to anyone, signed as Standard Webhooks asks.

`webhook-id` follows from incident and run, so that a message which comes again (a lost reply) is
known by it; the signature is over the very bytes that are sent. A receiver that checks both is
`examples/receiver.py`. Source: standard-webhooks/standard-webhooks:spec/standard-webhooks.md.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any

from faultline.adapters import posting
from faultline.errors import Rejected
from faultline.event import format_time
from faultline.model import Merged, Receipt, Report

SECRET_BYTES_MIN = 16


class WebhookOutlet:
    """Tells one address. `secrets`: the newest first; each signs. Raises as `posting.send`."""

    name = "webhook"

    def __init__(
        self,
        url: str,
        *,
        secrets: Sequence[str],
        clock: Callable[[], dt.datetime],
        client: Any = None,
    ) -> None:
        self._url, self._clock = url, clock
        self._keys = [_key(secret) for secret in secrets]
        self._client = client or posting.client(self._url)

    def deliver(self, report: Report, receipt: Receipt | None) -> Receipt:
        """Post the report once for each run, at the end, and when it is known if a fix held."""
        id, run = report.incident.id, str(report.run)
        if receipt is None or not (report.ending or receipt.details.get("run") == run):
            self._send(f"{id}-{run}", "incident.packaged", report)
        if report.held:
            self._send(f"{id}-{run}-held", "fix.settled", report)
        elif report.ending:
            self._send(f"{id}-{run}-ended", "incident.closed", report)
        if receipt:
            return receipt
        return posting.receipt(self.name, report, self._clock(), f"{id}-{run}")

    def merged(self, receipt: Receipt) -> Merged | None:
        """A webhook only listens."""
        return None

    def _send(self, id: str, type: str, report: Report) -> None:
        now = self._clock()
        body = content(type, report)
        headers = {
            "content-type": "application/json",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._keys:
            found = (signature(key, id, headers["webhook-timestamp"], body) for key in self._keys)
            headers["webhook-signature"] = " ".join(found)
        to = "the webhook of notify_url"
        posting.send(self._client, "POST", self._url, to=to, content=body, headers=headers)


def content(type: str, report: Report) -> bytes:
    """Return the body: `type`, `timestamp` (when the run ended) and the report as `data`.

    Files stand in it as the diff alone. The same report gives the same bytes.
    """
    data = report.model_dump(mode="json", exclude={"proposal": {"files"}})
    stamp = format_time(report.result.completed_at)
    return json.dumps({"type": type, "timestamp": stamp, "data": data}, ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def signature(key: bytes, id: str, timestamp: str, body: bytes) -> str:
    """Return one part of `webhook-signature`: `v1,` and the HMAC in base64."""
    signed = f"{id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    """Return the bytes of a secret: `whsec_` and base64, as receivers' libraries make it."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if len(key) < SECRET_BYTES_MIN or not secret.startswith("whsec_"):
        raise Rejected(
            f"notify_secret: expected whsec_ and at least {SECRET_BYTES_MIN} bytes in base64; make "
            'one with: echo "whsec_$(openssl rand -base64 24)"'
        )
    return key
