"""S3 and what speaks like it, through boto3.

Exactly one writer wins by `If-None-Match: *`. When a reply is lost, nobody knows whether the write
happened; so each write carries a token, and a 412 that meets our own token is our own success.
A 412 is never believed without a look: a record that is not there after all would be lost.
boto3 itself tries only once: all patience is here, where it is safe and can be tested.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from faultline import keys
from faultline.adapters.stores import checked
from faultline.errors import AlreadyExists, FaultlineError, NotFound, Rejected, StoreDown

_ATTEMPTS = 4
_PAUSE_S = 0.1
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_TOKEN = "writer"  # noqa: S105  # the name of a metadata field; it says who wrote, and is no secret

T = TypeVar("T")


class S3Store:
    """Records as objects of one bucket, below one prefix."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str = "",
        region: str = "",
        timeout_s: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        token: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        """Make a client; nothing is asked of the server yet.

        Credentials, region and endpoint come from where boto3 finds them (`AWS_…`); `endpoint` and
        `region` go first. With an endpoint, buckets are addressed by path. `token` names a write.
        Raises Rejected if boto3 is missing or the endpoint is no address.
        """
        self._bucket, self._base = bucket, f"{prefix.strip('/')}/".lstrip("/")
        self._sleep, self._new_token = sleep, token
        self._client = _client(endpoint, region, timeout_s)

    def get(self, key: str) -> bytes:
        return self._try(key, lambda: self._read(key)[0])

    def put(self, key: str, data: bytes, *, if_absent: bool = False) -> None:
        token = self._new_token()
        wanted: dict[str, Any] = {
            "Bucket": self._bucket,
            "Key": self._base + checked(key),
            "Body": data,
            "ContentType": keys.content_type(key),
            "ContentDisposition": _disposition(key),
            "Metadata": {_TOKEN: token},
        }
        if if_absent:
            wanted["IfNoneMatch"] = "*"

        def send() -> None:
            _of_s3(self._client.put_object(**wanted), "ETag")

        try:
            self._try(key, send)
        except AlreadyExists:
            if self._writer(key) != token:
                raise  # someone else was first; with our token, only our reply had been lost

    def list(self, prefix: str) -> Iterator[str]:
        for page in self._pages(Prefix=self._base + prefix):
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):  # file browsers leave such folder marks
                    yield entry["Key"].removeprefix(self._base)

    def folders(self, prefix: str) -> Iterator[str]:
        whole = self._base + prefix
        pages = self._pages(Prefix=whole, Delimiter="/")
        found = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", ())]
        yield from sorted(name.rstrip("/").rpartition("/")[2] for name in found)

    def _writer(self, key: str) -> str:
        """Return the token of the call that wrote what is said to be there."""
        try:
            return self._try(key, lambda: self._read(key)[1])
        except NotFound:
            raise StoreDown(
                f"expected {key}, which the store said is there, but it is not: a second request "
                "may find it, or write it"
            ) from None

    def _read(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and the token of the call that wrote it."""
        asked = {"Bucket": self._bucket, "Key": self._base + checked(key)}
        found = _of_s3(self._client.get_object(**asked), "ETag")
        with found["Body"] as body:
            return bytes(body.read()), found["Metadata"].get(_TOKEN, "")

    def _pages(self, **asked: str) -> Iterator[dict[str, Any]]:
        """Yield the pages of a listing; a page may be short or empty and still not be the last."""
        more: dict[str, str] = {}
        while True:
            page = self._try(asked["Prefix"], lambda: self._page(asked | more))  # noqa: B023
            yield page
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def _page(self, asked: dict[str, str]) -> dict[str, Any]:
        return _of_s3(self._client.list_objects_v2(Bucket=self._bucket, **asked), "Name")

    def _try(self, what: str, act: Callable[[], T]) -> T:
        """Do it, again after a pause where that may help; all of boto3's errors end here."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return act()
            except (BotoCoreError, ClientError, ResponseParserError, HTTPError) as error:
                status = _status(error)
                if attempt == _ATTEMPTS or not _may_help(error, status):
                    raise self._explained(what, error, status) from error
                self._sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("unreachable")  # pragma: no cover  # the loop returns or raises

    def _explained(self, what: str, error: Exception, status: int) -> FaultlineError:
        code = _code(error)
        if status == 412:
            return AlreadyExists(f"{what} is there already")
        if status == 404 and code != "NoSuchBucket":
            return NotFound(f"no record under {what}")
        hint = {
            403: "the credentials may not do this; see docs/operate.md for what each step needs",
            404: "there is no such bucket; make it, or correct the store's URL",
            501: "it does not know this request; the store must support conditional writes",
        }.get(status, "waiting may help; if not, check its address and its health")
        came = f"{status} {code}" if status else type(error).__name__
        return StoreDown(f"expected s3://{self._bucket} to take {what}, got {came}: {hint}")


def _client(endpoint: str, region: str, timeout_s: float) -> Any:
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise Rejected("an s3:// store needs boto3: pip install 'faultline[s3]'") from None
    named = endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        connect_timeout=min(timeout_s, 3.0),
        read_timeout=timeout_s,
        retries={"total_max_attempts": 1},
        max_pool_connections=32,
        s3={"addressing_style": "path" if named else "auto"},
        request_checksum_calculation="when_required",  # not every S3 knows the newer checksums
        response_checksum_validation="when_required",
    )
    try:
        return boto3.session.Session().client(
            "s3", endpoint_url=endpoint or None, region_name=region or None, config=config
        )
    except ValueError as error:
        raise Rejected(
            f"expected an address such as http://minio:9000 as endpoint: {error}"
        ) from None


def _of_s3(answer: dict[str, Any], field: str) -> dict[str, Any]:
    """Return the answer if S3 made it. boto3 reads other pages with status 200 as empty ones."""
    if field not in answer:
        raise StoreDown(
            f"expected an answer of S3 with {field}, got 200 with something else: is a proxy or "
            "a login page at the store's address?"
        )
    return answer


def _disposition(key: str) -> str:
    unknown = keys.content_type(key) == "application/octet-stream"
    return "attachment" if unknown else "inline"


def _status(error: Exception) -> int:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _may_help(error: Exception, status: int) -> bool:
    """Say whether the same request may do better a moment later."""
    from botocore.exceptions import ConnectionError as NoConnection
    from botocore.exceptions import HTTPClientError, IncompleteReadError
    from urllib3.exceptions import HTTPError

    if status:
        return status in _AGAIN or _code(error) == "RequestTimeout"
    return isinstance(error, (NoConnection, HTTPClientError, IncompleteReadError, HTTPError))
