"""Which authorities an HTTP client of ours trusts.

Loading them costs more of the processor than a hundred requests, and httpx does it for each client:
a bridge with a hundred streams was busy for ten seconds before it heard the first. So they are
loaded once, and only for https.
"""

from __future__ import annotations

import ssl
from functools import cache


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
