"""Which authorities an HTTP client of ours trusts.

Loading them costs more of the processor than a hundred requests, and httpx does it for each client:
a bridge with a hundred streams was busy for ten seconds before it heard the first. So they are
loaded once, and only for https. And which addresses a key may travel to.
"""

from __future__ import annotations

import re
import ssl
from functools import cache
from urllib.parse import urlsplit

from faultline.errors import Rejected

_NEAR = re.compile(r"localhost|127\.\d+\.\d+\.\d+|\[?::1\]?|[a-z0-9-]+|.+\.svc(\.cluster\.local)?")


def check_address(variable: str, url: str, key: str) -> None:
    """Raise Rejected, without saying it, for an address that a key must not travel to.

    Over plain http a key stays on this machine or within the cluster.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket that is not closed
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise Rejected(f"{variable}: expected http:// or https:// and a host, no password")
    if key and parts.scheme == "http" and not _NEAR.fullmatch(parts.hostname):
        raise Rejected(f"{variable}: expected https://, for a key travels there")


def trust(url: str) -> ssl.SSLContext:
    """Return what to verify an address with: those of `SSL_CERT_FILE`, else those httpx brings.

    An address without TLS gets a context that trusts nobody; if TLS were spoken there, it fails.
    """
    return authorities() if url.lower().startswith("https:") else _nobody()


@cache
def authorities() -> ssl.SSLContext:
    """Return those of `SSL_CERT_FILE`, else those httpx brings."""
    import httpx

    return httpx.create_ssl_context()


@cache
def _nobody() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
