"""Which cluster we speak to, and with which credentials: found by the official client.

What is read in bulk or watched is read as plain JSON over `Api`: the client has another interface
for that in every generation, and its models take twenty times as long.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from faultline.errors import Rejected, Unavailable

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 10
Answer = tuple[int, bytes]


def load() -> Any:
    """Return the module `kubernetes.client`, set up for the cluster we run in, or KUBECONFIG's.

    Raises Rejected, saying what was expected, if there is neither, or one that names no server.
    """
    import kubernetes

    config: Any = kubernetes.config
    try:
        config.load_incluster_config()
    except config.ConfigException:
        _load_file(config, os.environ.get("KUBECONFIG") or None)
    return kubernetes.client


def _load_file(config: Any, path: str | None) -> None:
    import kubernetes
    import yaml

    unfit = (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError)
    try:
        config.load_kube_config(path)
    except config.ConfigException as error:
        raise Rejected(f"expected to run in a cluster, or a KUBECONFIG: {error}") from None
    except unfit as error:  # the client looks into it without checking; its words may quote a token
        kind = type(error).__name__
        raise Rejected(f"expected a KUBECONFIG in {path or '~/.kube/config'}, got {kind}") from None
    client: Any = kubernetes.client
    if not client.Configuration.get_default_copy().host:
        raise Rejected(f"expected a cluster with a server in {path or '~/.kube/config'}, got none")


class Api:
    """GET on an API server, and nothing else. Raises Unavailable if it does not answer."""

    def __init__(self, http: httpx.Client, headers: Callable[[], Mapping[str, str]]) -> None:
        """`headers` is asked each time: a bound token is replaced while we run."""
        self._http, self._headers = http, headers

    def get(self, path: str, query: Mapping[str, str]) -> Answer:
        """Return the status and the whole body."""
        answer = self._send(path, query)
        return answer.status_code, answer.content

    def open(self, path: str, query: Mapping[str, str], *, silence_s: float) -> httpx.Response:
        """Return an open answer, to be read in pieces; it breaks after so much silence."""
        return self._send(path, query, stream=True, read_s=silence_s)

    def close(self) -> None:
        """Close every connection that is kept."""
        self._http.close()

    def _send(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        stream: bool = False,
        read_s: float = TIMEOUT_S,
    ) -> httpx.Response:
        import httpx

        timeout = httpx.Timeout(TIMEOUT_S, read=read_s)
        try:
            request = self._http.build_request(
                "GET", path, params=dict(query), headers=dict(self._headers()), timeout=timeout
            )
            return self._http.send(request, stream=stream)
        except httpx.HTTPError as error:
            raise Unavailable(f"the API server did not answer: {type(error).__name__}") from None


def api() -> Api:
    """Return the API server of the cluster that this process runs in, or of KUBECONFIG."""
    return Api(*connection())


def connection() -> tuple[httpx.Client, Callable[[], dict[str, str]]]:
    """Return a client of that API server, and the headers that say who we are, of each moment."""
    import httpx

    found: Any = load().Configuration.get_default_copy()
    pair = (found.cert_file, found.key_file) if found.cert_file else None
    http = httpx.Client(
        base_url=found.host,
        verify=_trust(found),
        cert=pair,
        headers={"accept": "application/json"},
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        follow_redirects=False,
        trust_env=False,
    )

    def headers() -> dict[str, str]:
        return {
            auth["key"]: auth["value"]
            for auth in found.auth_settings().values()
            if auth["in"] == "header" and auth["value"]
        }

    return http, headers


def _trust(found: Any) -> ssl.SSLContext | bool:
    if not found.verify_ssl:
        return False
    return ssl.create_default_context(cafile=found.ssl_ca_cert) if found.ssl_ca_cert else True
