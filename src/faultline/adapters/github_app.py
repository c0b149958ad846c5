"""Tokens of a GitHub App's installation: one repository, three permissions, an hour each.

The App's private key signs a short statement of who we are (RS256, ten minutes at most); GitHub
gives a token for it, which is kept in memory until five minutes before its end. Needs the extra
`github` (cryptography). Source: docs.github.com, authenticating as a GitHub App installation.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import threading
from collections.abc import Callable
from typing import Any

from faultline.adapters import posting
from faultline.errors import Rejected, Unavailable
from faultline.event import parse_time

PERMISSIONS = {"contents": "write", "pull_requests": "write", "issues": "write"}
EARLY = dt.timedelta(minutes=5)


class AppToken:
    """Call it for a token that is good for minutes at least. Raises Busy, Unavailable, Rejected."""

    def __init__(
        self,
        app_id: str,
        installation_id: str,
        key: str,
        *,
        repository: str,
        clock: Callable[[], dt.datetime],
        api_url: str = "https://api.github.com",
        client: Any = None,
    ) -> None:
        if not (app_id and installation_id.isdecimal()):
            raise Rejected("github_app_id: expected it with github_installation_id, a number")
        self._app_id, self._key = app_id, _private_key(key)
        self._name = repository.partition("/")[2]
        self._clock = clock
        self._url = f"{api_url.rstrip('/')}/app/installations/{installation_id}/access_tokens"
        self._client = client or posting.client(self._url)
        self._lock = threading.Lock()
        self._token, self._until = "", dt.datetime.min.replace(tzinfo=dt.UTC)

    def __call__(self) -> str:
        with self._lock:
            if self._clock() >= self._until:
                self._token, self._until = self._mint()
            return self._token

    def _mint(self) -> tuple[str, dt.datetime]:
        headers = {
            "Authorization": f"Bearer {self._statement()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        wanted = {"repositories": [self._name], "permissions": PERMISSIONS}
        to = "GitHub, for a token of the App's installation"
        answer = posting.send(self._client, "POST", self._url, to=to, json=wanted, headers=headers)
        try:
            said = answer.json()
            return str(said["token"]), parse_time(said["expires_at"]) - EARLY
        except (ValueError, KeyError, TypeError):
            raise Unavailable(f"{to}: expected a token and when it ends") from None

    def _statement(self) -> str:
        """Return a JSON Web Token that says who we are, from a minute ago for nine more."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        now = int(self._clock().timestamp())
        claims = {"iat": now - 60, "exp": now + 540, "iss": self._app_id}
        parts = (json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims))
        signed = b".".join(_base64(part) for part in parts)
        return b".".join([signed, _base64(self._key.sign(signed, PKCS1v15(), SHA256()))]).decode()


def _private_key(text: str) -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError:
        raise Rejected("github_app_key: needs the extra `github`: cryptography") from None
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise Rejected("github_app_key: expected the App's RSA key in PEM form, without a password")
    return key


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
