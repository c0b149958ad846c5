"""Who asks: the API server says whose a token is, and which pod holds it.

A bound token dies with its pod, so what a run may do ends with its Job (TokenReview,
authentication.k8s.io/v1; kubernetes.io/docs/concepts/storage/projected-volumes). Each door has an
audience of its own: the token that an engine has for its model opens no store.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

from faultline.errors import NotAllowed, Unavailable
from faultline.gateway.rights import Asker, asker_of

REMEMBERED_S = 30.0  # a token is asked for again after so long; a deleted pod's lives on until then
REMEMBERED_MAX = 1_000
TOKEN_CHARS_MAX = 8_192
_POD_NAME = "authentication.kubernetes.io/pod-name"

Review = Callable[[str, dict[str, Any]], dict[str, Any]]  # kind and spec -> the answer


class Reviews:
    """Tells the run by its token. Safe between threads."""

    def __init__(self, review: Review, account: str, *, monotonic: Callable[[], float]) -> None:
        """`account`: `system:serviceaccount:<namespace>:<name>` of the agents' pods."""
        self._review, self._account, self._monotonic = review, account, monotonic
        self._known: dict[bytes, tuple[Asker, float]] = {}
        self._lock = threading.Lock()

    def __call__(self, token: str, audience: str) -> Asker:
        """Return the run. Raises NotAllowed for a token that is not one of its pods'."""
        if not 0 < len(token) <= TOKEN_CHARS_MAX:
            raise NotAllowed("expected a service account's token")
        digest = hashlib.sha256(f"{audience} {token}".encode("utf-8", "replace")).digest()
        known = self._known.get(digest)
        if known and self._monotonic() - known[1] < REMEMBERED_S:
            return known[0]
        asker = self._asked(token, audience)
        with self._lock:
            if len(self._known) >= REMEMBERED_MAX:
                self._known.clear()
            self._known[digest] = asker, self._monotonic()
        return asker

    def _asked(self, token: str, audience: str) -> Asker:
        answer = self._review("TokenReview", {"token": token, "audiences": [audience]})
        status = answer.get("status")
        if not isinstance(status, dict):
            raise Unavailable("expected a status in the API server's TokenReview")
        if status.get("authenticated") is not True or audience not in status.get("audiences", ()):
            raise NotAllowed(f"this token is not one for {audience}")
        user = status.get("user") or {}
        if user.get("username") != self._account:
            raise NotAllowed(f"expected a token of {self._account}")
        pods = (user.get("extra") or {}).get(_POD_NAME) or [""]
        return asker_of(str(pods[0]))
