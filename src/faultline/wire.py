"""CloudEvents over HTTP, both ways, strictly; the gate that keeps events small; their form on disk.

The rules are those of github.com/cloudevents/spec: `spec.md` 1.0.2 for attributes, the JSON event
format and the HTTP protocol binding for the forms. The SDK carries events to and from headers, in
whichever of its two generations is installed, and accepts a good deal that the specification
refuses. So everything is checked here, on the way in and on the way out, and no other file imports
the SDK. Which answer a refused event gets is said in `answers.py`; `event.py` has the value itself.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote_to_bytes

try:  # cloudevents 2, which func-python brings
    from cloudevents.v1.abstract import CloudEvent
    from cloudevents.v1.conversion import from_http, to_binary
except ImportError:  # cloudevents 1, which functions-framework wants
    from cloudevents.abstract import CloudEvent
    from cloudevents.conversion import from_http, to_binary

from faultline import keys, limits, strict_json
from faultline.errors import NotAnEvent, NotFound, Rejected, TooLarge
from faultline.event import STANDARD, Event, parse_time, to_json

STRUCTURED = "application/cloudevents+json"
JSON = "application/json"
BYTES = "application/octet-stream"

_REQUIRED = ("specversion", "id", "source", "type")
_VERSIONS = ("1.0", "0.3")
# an attribute called `extensions` would land where the SDK keeps what it does not know
_RESERVED = frozenset({"data", "data_base64", "extensions"})
_NAME = re.compile(r"[a-z0-9]+")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+*'|~`%-]+/[\w!#$&^.+*'|~`%-]+(?: *;[\t -~]*)?", re.ASCII)
_JSON_TYPE = re.compile(r"[^/]+/(?:[^;]*\+)?json *(?:;.*)?", re.ASCII | re.IGNORECASE)
_CHARSET = re.compile(r"; *charset *= *\"?([^\s;\"]+)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")
# control characters, surrogates and what Unicode promises never to assign (spec.md, "String")
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(chr(plane << 16 | low) for plane in range(1, 17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
_PLAIN = re.compile(r"[!#$&-~]*")  # goes into a header as it is: no space, quote, percent sign
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


class _Form(CloudEvent):  # type: ignore[misc]  # the SDK's two homes look untyped from here
    """What the SDK reads from and writes to. Its own event class invents a missing time."""

    def __init__(self, attributes: dict[str, Any], data: Any) -> None:
        self.attributes, self.data = attributes, data

    @classmethod
    def create(cls, attributes: Mapping[str, Any], data: Any) -> _Form:
        return cls(dict(attributes), data)

    def _get_attributes(self) -> dict[str, Any]:
        return self.attributes

    def get_data(self) -> Any:
        return self.data


# reading


def decode(
    headers: Mapping[str, str], body: bytes, *, bytes_max: int = limits.event_read_bytes_max
) -> Event:
    """Read an event from an HTTP message, in binary or structured mode.

    Header names may have any case. JSON data becomes a value, data of any other type stays bytes,
    and JSON data without a content type is recognised. Versions 1.0 and 0.3 are read as they are.
    Raises TooLarge over `bytes_max` or a limit on headers, NotAnEvent for all else.
    """
    if len(body) > bytes_max:
        raise TooLarge(f"expected an event of at most {bytes_max} bytes, got {len(body)}")
    received = _lowered(headers)
    content_type = received.get("content-type", "")
    if content_type.lower().startswith("application/cloudevents"):
        return _from_structured(content_type, body)
    return _from_binary(received, body)


def _lowered(headers: Mapping[str, str]) -> dict[str, str]:
    received: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        lower = name.lower()
        if lower in received and lower.startswith(("ce-", "content-type")):
            raise NotAnEvent(f"expected the header {lower} once, got it twice")
        received[lower] = value
        size += len(name) + len(value)
    if len(received) > limits.headers_max or size > limits.header_bytes_max:
        raise TooLarge(
            f"expected at most {limits.headers_max} headers of {limits.header_bytes_max} bytes "
            f"in all, got {len(received)} of {size}"
        )
    return received


def _from_binary(received: Mapping[str, str], body: bytes) -> Event:
    if "ce-specversion" not in received:
        raise NotAnEvent(
            f"expected a CloudEvent: either the header ce-specversion or content-type {STRUCTURED}"
        )
    if "ce-datacontenttype" in received:
        raise NotAnEvent("expected content-type to say what the data is, got ce-datacontenttype")
    clean = {k: _header_decoded(k, v) for k, v in received.items() if k[:3] == "ce-"}
    attributes = {name[3:]: value for name, value in clean.items()}
    if "content-type" in received:
        clean["content-type"] = attributes["datacontenttype"] = received["content-type"].strip()
    _check(attributes)
    form = from_http(_Form, clean, body, data_unmarshaller=_as_it_is)
    return _parsed(_event(form.get_attributes(), form.get_data() or None))


def _header_decoded(name: str, value: str) -> str:
    """Undo quotes, then percent signs, once (HTTP protocol binding, 3.1.3.2)."""
    text = value.strip(" \t")
    if not text.isascii():
        raise NotAnEvent(f"expected {name} to be percent-encoded, got characters beyond ASCII")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = _ESCAPED.sub(r"\1", text[1:-1])
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise NotAnEvent(f"expected {name} to be percent-encoded UTF-8, got other bytes") from None


def _from_structured(content_type: str, body: bytes) -> Event:
    media_type = content_type.split(";")[0].strip().lower()
    if media_type != STRUCTURED:
        raise NotAnEvent(f"expected one event as {STRUCTURED}, got {media_type[:80]}")
    charset = _CHARSET.search(content_type)
    if charset is not None and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise NotAnEvent(f"expected JSON in UTF-8, got charset {charset[1][:40]}")
    return _parsed(_from_object(_loaded(body)))


def _from_object(value: Any) -> Event:
    if not isinstance(value, dict):
        raise NotAnEvent(f"expected one event as a JSON object, got {type(value).__name__}")
    present = {name: item for name, item in value.items() if item is not None}  # null is unset
    data, encoded = present.pop("data", None), present.pop("data_base64", None)
    if data is not None and encoded is not None:
        raise NotAnEvent("expected data or data_base64, got both")
    _check(present)
    if encoded is not None:
        return _event(present, _unbase64(encoded))
    if isinstance(data, str) and present.get("datacontentencoding") == "base64":  # 0.3's way
        del present["datacontentencoding"]
        return _event(present, _unbase64(data))
    return _event(present, data)


def _unbase64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise NotAnEvent("expected base64 in data_base64, got something else") from None


def _event(attributes: Mapping[str, Any], data: Any) -> Event:
    known = {name: attributes[name] for name in ("specversion", *STANDARD) if name in attributes}
    rest = {name: value for name, value in attributes.items() if name not in known}
    return Event(**known, data=data, extensions=rest)


def _parsed(event: Event) -> Event:
    """Give the data the form that its content type promises."""
    data, content_type = event.data, event.datacontenttype
    if data is None or (content_type is None and not isinstance(data, bytes)):
        return event
    if content_type is None:
        return _guessed(event)
    if _JSON_TYPE.fullmatch(content_type):
        return replace(event, data=_loaded(data)) if isinstance(data, bytes) else event
    if isinstance(data, str):
        return replace(event, data=data.encode())
    if isinstance(data, bytes):
        return event
    raise NotAnEvent(f"expected text or base64 as data of type {content_type[:80]}, got JSON")


def _guessed(event: Event) -> Event:
    try:  # a broker in between passes on what had no content type as it was: mostly JSON
        return replace(event, data=_loaded(event.data))
    except NotAnEvent:
        return replace(event, datacontenttype=BYTES)


def _loaded(body: bytes) -> Any:
    try:
        return strict_json.loads(body)
    except ValueError as error:
        raise NotAnEvent(f"expected JSON, got something else: {str(error)[:80]}") from None


# checking, in both directions


def _check(attributes: Mapping[str, Any]) -> None:
    """Raise NotAnEvent unless these are the attributes of a CloudEvent."""
    for name in _REQUIRED:
        if not attributes.get(name):
            raise NotAnEvent(f"expected the attribute {name}, got none")
    for name, value in attributes.items():
        _check_name(name)
        if not isinstance(value, str):
            _check_integer(name, value)
    _check_characters(attributes)
    if attributes["specversion"] not in _VERSIONS:
        raise NotAnEvent(f"expected specversion 1.0, got {attributes['specversion'][:20]!r}")
    for name, rule in _RULES.items():
        if name in attributes and not rule(attributes[name]):
            raise NotAnEvent(f"expected a valid {name}, got {str(attributes[name])[:80]!r}")


@lru_cache(1_000)  # names recur; one that is refused is not kept
def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None or name in _RESERVED:
        raise NotAnEvent(f"expected attribute names of a-z and 0-9, got {name[:40]!r}")


def _check_characters(attributes: Mapping[str, Any]) -> None:
    for name, value in attributes.items():  # nothing forbidden is printable, and that is quick
        if isinstance(value, str) and not value.isprintable() and _FORBIDDEN.search(value):
            raise NotAnEvent(f"expected no control characters in {name}, got one")


def _check_integer(name: str, value: Any) -> None:
    if name in STANDARD or name == "specversion" or not isinstance(value, int):
        raise NotAnEvent(f"expected {name} as a string, got {type(value).__name__}")
    if not -(2**31) <= value < 2**31:
        raise NotAnEvent(f"expected {name} as an integer of 32 bits, got a larger one")


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


_RULES: Mapping[str, Callable[[str], Any]] = {
    "source": _URI_REFERENCE.fullmatch,
    "subject": bool,
    "time": _is_time,
    "datacontenttype": _MEDIA_TYPE.fullmatch,
    "dataschema": lambda text: _SCHEME.match(text) and _URI_REFERENCE.fullmatch(text),
}


# writing


def encode(event: Event, *, structured: bool = False) -> tuple[dict[str, str], bytes]:
    """Return the event as HTTP headers, with lower-case names, and body.

    Raises NotAnEvent for what the specification refuses: nothing is repaired on the way out.
    """
    attributes = {name: getattr(event, name) for name in ("specversion", *STANDARD)}
    present = {k: v for k, v in (attributes | event.extensions).items() if v is not None}
    _check(present)
    if clash := event.extensions.keys() & attributes.keys():
        raise NotAnEvent(f"expected extensions under names of their own, got {sorted(clash)}")
    body = _body(event)
    if structured:
        return {"content-type": STRUCTURED}, _dumped(_structured(event))
    if event.data is not None:
        present["datacontenttype"] = _content_type(event)
    if present.get("datacontenttype", "").lower().startswith("application/cloudevents"):
        raise NotAnEvent("expected other data than an event, which binary mode cannot tell apart")
    values = {name: _header_encoded(name, value) for name, value in present.items()}
    headers, _ = to_binary(_Form(values, body), data_marshaller=_as_it_is)
    return dict(headers), body


def _header_encoded(name: str, value: str | int | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if name == "datacontenttype" or _PLAIN.fullmatch(text):
        return text
    return quote(text, safe=_SAFE)


def _content_type(event: Event) -> str:
    return event.datacontenttype or (BYTES if isinstance(event.data, bytes) else JSON)


def _body(event: Event) -> bytes:
    """Return the data as the bytes that its content type promises."""
    data, content_type = event.data, _content_type(event)
    if data is None:
        return b""
    if _JSON_TYPE.fullmatch(content_type):
        if not isinstance(data, bytes):
            return _dumped(data)
        _loaded(data)
        return data
    if isinstance(data, bytes):
        return data
    if isinstance(data, str):
        return data.encode()
    raise NotAnEvent(f"expected text or bytes as data of type {content_type[:80]}, got JSON")


def _structured(event: Event) -> dict[str, Any]:
    value = to_json(event)
    if "data_base64" in value:
        value.setdefault("datacontenttype", BYTES)
        if event.specversion == "0.3":
            value["data"] = value.pop("data_base64")
            value["datacontentencoding"] = "base64"
    return value


def _dumped(value: Any) -> bytes:
    try:
        return strict_json.dumps(value)
    except ValueError as error:
        raise NotAnEvent(f"expected data that is JSON, got {error}") from None


def _as_it_is(data: Any) -> Any:
    return data


# on disk


def to_bytes(event: Event) -> bytes:
    """Return the event as structured JSON for journals and records; `from_bytes` is its inverse."""
    value = to_json(event)
    if event.datacontenttype is None:
        value.pop("datacontenttype", None)
    return _dumped(value)


def from_bytes(data: bytes) -> Event:
    """Read what `to_bytes` wrote, exactly, or any structured event. Raises NotAnEvent."""
    return _from_object(_loaded(data))


# the gate


def fit(event: Event, put: Callable[[str, bytes], object], day: dt.date) -> Event:
    """Return the event, small enough for every broker: under 48 KiB in both modes.

    Larger data goes to `data/<day>/<sha256>.json` through `put`, and the event carries that key as
    `dataref`, without data. Raises TooLarge if the attributes alone are too much.
    """
    if _size(event) <= limits.event_bytes_max:
        return event
    body = _body(event)
    key = keys.data(day, body)
    content_type = event.datacontenttype or (BYTES if isinstance(event.data, bytes) else None)
    referring = replace(
        event,
        data=None,
        datacontenttype=content_type,
        extensions=event.extensions | {"dataref": key},
    )
    if (size := _size(referring)) > limits.event_bytes_max:
        raise TooLarge(
            f"expected attributes under {limits.event_bytes_max} bytes, got {size}: shorten them"
        )
    put(key, body)
    return referring


def encode_fitting(
    event: Event, put: Callable[[str, bytes], object], day: dt.date
) -> tuple[dict[str, str], bytes]:
    """Do `fit`, then `encode` in binary mode; most events are small, and one look is enough."""
    headers, body = encode(event)
    if _length(headers, body) <= limits.event_bytes_max // 16:
        return headers, body
    return encode(fit(event, put, day))


def _size(event: Event) -> int:
    structured = len(encode(event, structured=True)[1])
    if structured <= limits.event_bytes_max // 16:
        return structured  # the binary form cannot be that much longer: a byte becomes three
    return max(structured, _length(*encode(event)))


def _length(headers: Mapping[str, str], body: bytes) -> int:
    return sum(len(name) + len(value) + 4 for name, value in headers.items()) + len(body)


def resolve(event: Event, get: Callable[[str], bytes]) -> Event:
    """Return the event with the data that its `dataref` names; any other event as it is.

    The reference must be a `data/` key of our own store, and the bytes must have the hash in its
    name. Addresses, other keys, missing or changed data raise Rejected, before or without a look
    anywhere but the store.
    """
    if event.dataref is None:
        return event
    expected = keys.data_sha256(event.dataref)
    try:
        body = get(event.dataref)
    except NotFound:
        raise Rejected(f"expected data under {event.dataref}, got none: send it again") from None
    if hashlib.sha256(body).hexdigest() != expected:
        raise Rejected(f"expected the data that {event.dataref} names, got other bytes")
    rest = {name: value for name, value in event.extensions.items() if name != "dataref"}
    return _parsed(replace(event, data=body, extensions=rest))
