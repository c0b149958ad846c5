"""A model behind its HTTP interface: one request, one answer, within limits and never twice paid.

Address and key come from the environment of the agent's process (`service`); no error and no log
line says them. Nothing is followed, nothing is streamed, and what is asked is `loop.py`'s. What
the services speak is `dialects.py`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faultline.adapters.trust import check_address
from faultline.agent.dialects import PROVIDERS, Dialect, Reply, Tool, Turn
from faultline.errors import Rejected, Unavailable
from faultline.limits import model_answer_bytes_max, model_wait_s_max

log = logging.getLogger(__name__)

_PRICE = re.compile(r"([^=,\s]+)=(\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)")
_REASONS = {401: "auth", 403: "auth", 402: "quota", 429: "quota", 503: "overloaded"}
_REASONS |= {529: "overloaded", 404: "no_model"}
_AGAIN = (408, 425, 429, 500, 502, 503, 504, 529)


class ModelFailed(Unavailable):
    """The model gave no answer. `reason` is one of the words of `outcome.py`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Service:
    """Where a model is, what it is called, and what a million of its tokens cost."""

    provider: str
    url: str
    model: str
    key: str
    dialect: Dialect
    price: tuple[float, float] | None = None  # USD for a million tokens in, out; None: unknown
    authorities: str = ""  # a file of certificates to trust; empty: the usual ones
    key_file: str = ""  # where the key was read, if it was: a token is renewed there

    def key_now(self) -> str:
        """Return the key as it is now: of its file, if that can still be read."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return Path(self.key_file).read_text("utf-8").strip() if self.key_file else self.key
        return self.key

    def cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        """Return what these tokens cost; 0 if nobody said."""
        price_in, price_out = self.price or (0.0, 0.0)
        return (tokens_in * price_in + tokens_out * price_out) / 1_000_000


def service(environment: Mapping[str, str], model: str = "") -> Service:
    """Return the service that the environment names. Raises Rejected, with what to set.

    `FAULTLINE_MODEL_PROVIDER`, `_URL`, `_KEY` (or `_KEY_FILE`) and `_PRICES`; `model` overrides
    the provider's own.
    """
    name = environment.get("FAULTLINE_MODEL_PROVIDER") or "compatible"
    if name not in PROVIDERS:
        known = ", ".join(PROVIDERS)
        raise Rejected(f"FAULTLINE_MODEL_PROVIDER: expected {known}, got {name[:40]!r}")
    provider, key = PROVIDERS[name], secret_of(environment, "FAULTLINE_MODEL_KEY")
    url = (environment.get("FAULTLINE_MODEL_URL") or provider.url).rstrip("/")
    chosen = model or provider.model
    if not url or not chosen:
        raise Rejected("expected FAULTLINE_MODEL_URL and AGENT_MODEL: which model, and where?")
    if provider.needs_key and not key:
        raise Rejected(f"expected FAULTLINE_MODEL_KEY or FAULTLINE_MODEL_KEY_FILE for {name}")
    check_address("FAULTLINE_MODEL_URL", url, key)
    price = prices(environment.get("FAULTLINE_MODEL_PRICES", "")).get(chosen)
    authorities = environment.get("SSL_CERT_FILE", "")
    key_file = environment.get("FAULTLINE_MODEL_KEY_FILE", "")
    return Service(name, url, chosen, key, provider.dialect, price, authorities, key_file)


def secret_of(environment: Mapping[str, str], name: str) -> str:
    """Return what a variable holds, or the file that `<name>_FILE` names; "" if neither is set.

    Raises Rejected for a file that cannot be read.
    """
    if file := environment.get(f"{name}_FILE"):
        try:
            return Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise Rejected(f"{name}_FILE names a file that cannot be read") from None
    return environment.get(name, "")


def prices(text: str) -> dict[str, tuple[float, float]]:
    """Read `model=in/out,…`, USD for a million tokens. Raises Rejected for anything else."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    found = [_PRICE.fullmatch(part) for part in parts]
    if not all(found):
        raise Rejected("FAULTLINE_MODEL_PRICES: expected model=in/out,… such as llama3=0.05/0.08")
    return {match[1]: (float(match[2]), float(match[3])) for match in found if match}


class HttpModel:
    """Asks a service. One retry for what may pass, a limit of time and bytes for everything."""

    def __init__(self, service: Service, *, sleep: Callable[[float], None]) -> None:
        self._service, self._sleep = service, sleep
        self._tools = True
        self._trust: Any = False  # over plain http there is nothing to check
        if service.url.startswith("https:"):
            self._trust = ssl.create_default_context(cafile=service.authorities or None)

    def ask(self, system: str, talk: Sequence[Turn], tools: Sequence[Tool], *, last: bool) -> Reply:
        """Return the answer; `last` asks for one JSON object instead of offering tools.

        A model that knows no tools is asked for its answer at once. Raises ModelFailed.
        """
        dialect, model = self._service.dialect, self._service.model
        json_only = last or not self._tools
        status, answer = self._patiently(dialect.body(model, system, talk, tools, json_only))
        if status == 400 and not json_only and b"tool" in answer.lower():
            self._tools = False
            log.warning("this model takes no tools: it answers from the evidence alone")
            status, answer = self._patiently(dialect.body(model, system, talk, tools, True))
        if status != 200:
            reason = _REASONS.get(status, "unreachable" if status >= 500 else "engine_error")
            raise ModelFailed(reason, f"the model's service answered {status}")
        try:
            return dialect.reply(json.loads(answer))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ModelFailed("engine_error", "expected an answer of the model's API") from None

    def _patiently(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """Post once, and once more if that may help."""
        try:
            status, answer, wait_s = self._post(body)
            if status not in _AGAIN:
                return status, answer
        except ModelFailed as error:
            if error.reason != "unreachable":
                raise
            wait_s = 1.0
        log.warning("the model did not answer; once more in %s s", wait_s)
        self._sleep(wait_s)
        return self._post(body)[:2]

    def _post(self, body: dict[str, Any]) -> tuple[int, bytes, float]:
        import httpx

        dialect = self._service.dialect
        headers = dialect.headers(self._service.key_now()) | {"Content-Type": "application/json"}
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        url = self._service.url + dialect.path
        try:
            with (
                self._client(httpx) as http,
                http.stream("POST", url, content=content, headers=headers) as answer,
            ):
                data = _bounded(answer.iter_bytes(), dialect.timeout_s)
                return answer.status_code, data, _wait(answer.headers.get("retry-after", ""))
        except httpx.HTTPError as error:
            kind = type(error).__name__
            raise ModelFailed("unreachable", f"the model did not answer: {kind}") from None

    def _client(self, httpx: Any) -> Any:
        """Return a client that follows no redirect and asks the environment for nothing."""
        return httpx.Client(
            timeout=self._service.dialect.timeout_s,
            verify=self._trust,
            follow_redirects=False,
            trust_env=False,
        )


def _bounded(chunks: Iterator[bytes], seconds: float) -> bytes:
    """Read an answer within limits of bytes and time."""
    parts, size, end = [], 0, time.monotonic() + seconds
    for chunk in chunks:
        parts.append(chunk)
        size += len(chunk)
        if size > model_answer_bytes_max:
            raise ModelFailed("engine_error", f"an answer over {model_answer_bytes_max} bytes")
        if time.monotonic() > end:
            raise ModelFailed("unreachable", f"no whole answer within {seconds:.0f} s")
    return b"".join(parts)


def _wait(retry_after: str) -> float:
    """Return the seconds that a service wants us to wait, within reason."""
    return min(float(retry_after), model_wait_s_max) if retry_after.isdigit() else 1.0
