"""The store as one run may see it: through the gateway, with the token of its pod.

    gateway+http://gateway.faultline.svc

The kubelet renews the token's file, so it is read for each request. What a run may read and write
is decided there (`gateway/rights.py`); here a refusal is only told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from faultline.adapters.stores import checked
from faultline.adapters.trust import trust
from faultline.errors import AlreadyExists, NotFound, Rejected, StoreDown

TOKENS = "/var/run/secrets/faultline"  # where a Job mounts them
TOKENS_VARIABLE = "FAULTLINE_GATEWAY_TOKENS"
TOKEN, MODEL_TOKEN = "token", "model-token"
TIMEOUT_S = 30.0


def bearer(name: str = TOKEN, environment: Mapping[str, str] = os.environ) -> str:
    """Return a token of this pod, as it is now. Raises Rejected if there is none."""
    path = Path(environment.get(TOKENS_VARIABLE) or TOKENS) / name
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise Rejected(f"expected this pod's token in {path}; the Job mounts it") from None


class GatewayStore:
    """A store behind the gateway's door: the contract of `store.py`, within a run's rights."""

    def __init__(self, url: str, *, token: Callable[[], str] = bearer, client: Any = None) -> None:
        import httpx

        self._url, self._token = f"{url.rstrip('/')}/store", token
        self._client = client or httpx.Client(
            verify=trust(url), timeout=TIMEOUT_S, follow_redirects=False
        )

    def get(self, key: str) -> bytes:
        answer = self._ask("GET", fine=(200, 404), params={"key": checked(key)})
        if answer.status_code == 404:
            raise NotFound(f"no record under {key}")
        return bytes(answer.content)

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        headers = {"if-none-match": "*"} if if_absent else {}
        params = {"key": checked(key)}
        answer = self._ask("PUT", fine=(204, 412), params=params, content=data, headers=headers)
        if answer.status_code == 412:
            raise AlreadyExists(f"{key} is there already")

    def list(self, prefix: str) -> Iterator[str]:
        return iter(self._ask("GET", fine=(200,), params={"prefix": prefix}).json())

    def folders(self, prefix: str) -> Iterator[str]:
        params = {"prefix": prefix, "folders": "1"}
        return iter(self._ask("GET", fine=(200,), params=params).json())

    def _ask(self, method: str, *, fine: tuple[int, ...], **what: Any) -> Any:
        import httpx

        headers = what.pop("headers", {}) | {"authorization": f"Bearer {self._token()}"}
        try:
            answer = self._client.request(method, self._url, headers=headers, **what)
        except httpx.HTTPError as error:
            raise StoreDown(f"the gateway did not answer: {type(error).__name__}") from None
        code = answer.status_code
        if code in fine:
            return answer
        if code == 429 or code >= 500:
            raise StoreDown(f"the gateway answered {code}")
        raise Rejected(f"the gateway answered {code}: {answer.text[:300].strip()}")
