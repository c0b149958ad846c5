"""Trigger manifests -> Triggers; refuses what Knative's webhook refuses.

The routes of the product stand once, in `infra/knative/triggers.yaml`, the file that is applied to
a cluster; the wheel carries a copy. This module reads, checks and warns. Who matches: `filters.py`;
what happens to a delivery: `delivery.py`. Source: knative/specs:specs/eventing/control-plane.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml

from faultline.broker import filters
from faultline.errors import Rejected

Policy = Literal["linear", "exponential"]
Format = Literal["binary", "json"]

NAMESPACE = "default"
RETRY_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Destination:
    """Where deliveries go: the name of a Service and a path below it, or an absolute URI."""

    name: str | None
    uri: str  # absolute without a name, else a path or ""
    namespace: str = NAMESPACE

    @property
    def path(self) -> str:
        """The path to post to."""
        return (self.uri if self.name else urlsplit(self.uri).path) or "/"

    @property
    def address(self) -> str:
        """The address, as a cluster would spell it, without secrets."""
        if self.name:
            return f"http://{self.name}.{self.namespace}.svc.cluster.local{self.uri}"
        parts = urlsplit(self.uri)
        return parts._replace(
            netloc=parts.netloc.rpartition("@")[2], query="", fragment=""
        ).geturl()


@dataclass(frozen=True, slots=True)
class Delivery:
    """How hard to try, and where to go in the end."""

    retry: int = 0  # attempts after the first
    policy: Policy | None = None
    delay_s: float = 0.0
    timeout_s: float | None = None  # of one attempt
    dead_letter: Destination | None = None
    format: Format = "binary"
    retry_after_max_s: float | None = None  # only where the feature is on; None: header ignored


@dataclass(frozen=True, slots=True)
class Trigger:
    """Who wants which events, and how they are delivered."""

    name: str
    broker: str
    subscriber: Destination
    matches: filters.Filter = field(compare=False)
    delivery: Delivery  # the one in effect: its own as a whole, else the Broker's
    namespace: str = NAMESPACE
    own_delivery: bool = True
    ordered: bool = False  # one at a time per `partitionkey`
    warnings: tuple[str, ...] = ()

    def destination(self, dead: bool) -> Destination:
        """Return where events go, or where dead letters go; an address of nobody without one."""
        if not dead:
            return self.subscriber
        return self.delivery.dead_letter or Destination(None, "http://nobody.invalid")


# what a Broker without a delivery block gets: knative/eventing, config-br-default
DEFAULT_DELIVERY = Delivery(retry=10, policy="exponential", delay_s=0.2)
ORDERED = "kafka.eventing.knative.dev/delivery.order"


def manifest_text() -> str:
    """Return the product's own Triggers: the checkout's, else the copy in the wheel."""
    here = Path(__file__).parents[3] / "infra" / "knative" / "triggers.yaml"
    if here.is_file():
        return here.read_text("utf-8")
    return resources.files("faultline.broker").joinpath("triggers.yaml").read_text("utf-8")


def load(text: str, *, retry_after: bool = False) -> tuple[Trigger, ...]:
    """Return the Triggers of a multi-document manifest, in its order.

    Documents of kind Broker give their Triggers a default delivery; other kinds are passed over.
    `retry_after` turns Knative's alpha feature `delivery-retryafter` on. Raises Rejected with every
    refusal, each naming its Trigger and field.
    """
    triggers, refused = read(text, retry_after=retry_after)
    if refused:
        raise Rejected("; ".join(map(str, refused)))
    return triggers


def read(
    text: str, *, retry_after: bool = False
) -> tuple[tuple[Trigger, ...], tuple[Rejected, ...]]:
    """Return the good Triggers and the refusals: as on a cluster, a bad one harms no other."""
    documents = list(_documents(text))
    refused: list[Rejected] = []
    brokers: dict[str, Delivery] = {}
    triggers: dict[str, Trigger] = {}
    for document in sorted(documents, key=lambda one: one["kind"]):  # a Broker before its Triggers
        kind, name = document["kind"], _name(document)
        try:
            if kind == "Broker":
                brokers[name] = _delivery(_spec(document), NAMESPACE, retry_after)
            elif kind == "Trigger":
                _new(name, triggers)
                triggers[name] = _trigger(document, brokers, retry_after)
        except Rejected as error:
            refused.append(Rejected(f"{kind.lower()} {name}: {error}"))
    return tuple(triggers.values()), tuple(refused)


def lint(triggers: tuple[Trigger, ...]) -> list[str]:
    """Return what is allowed and probably not meant, one sentence each."""
    return [f"trigger {one.name}: {warning}" for one in triggers for warning in _warnings(one)]


def _warnings(trigger: Trigger) -> Iterator[str]:
    yield from trigger.warnings
    if trigger.delivery.dead_letter is None:
        whose = "its own delivery block" if trigger.own_delivery else "the Broker's delivery"
        yield (
            f"no dead letter sink in {whose}: what cannot be delivered is dropped, "
            "whatever the Trigger's status says; repeat deadLetterSink in spec.delivery"
        )
    if trigger.delivery.retry and trigger.delivery.policy is None:
        yield "retry without backoffPolicy: all attempts happen at once"


def _documents(text: str) -> Iterator[dict[str, Any]]:
    try:
        parsed = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        raise Rejected(f"expected Trigger manifests in YAML: {error}") from None
    for document in parsed:
        if document is None:
            continue
        if not isinstance(document, dict) or "kind" not in document:
            raise Rejected(f"expected a manifest with a kind, got {document!r:.120}")
        if str(document.get("apiVersion", "")).startswith("eventing.knative.dev/"):
            yield document


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return name if isinstance(name, str) and name else "without metadata.name"


def _new(name: str, triggers: Mapping[str, Trigger]) -> None:
    if name in triggers:
        raise Rejected("metadata.name: expected a new name, this one was there before")


def _spec(document: Mapping[str, Any]) -> dict[str, Any]:
    return _mapping(document.get("spec") or {}, "spec")


def _trigger(
    document: Mapping[str, Any], brokers: Mapping[str, Delivery], retry_after: bool
) -> Trigger:
    spec, metadata = _spec(document), _mapping(document.get("metadata") or {}, "metadata")
    if not isinstance(metadata.get("name"), str):
        raise Rejected("metadata.name: expected a name, got none")
    _known(spec, {"broker", "brokerRef", "filter", "filters", "subscriber", "delivery"}, "spec")
    broker = spec.get("broker")
    if not isinstance(broker, str) or not broker:
        raise Rejected(f"spec.broker: expected the name of a Broker, got {broker!r}")
    try:
        matches = filters.build(spec)
    except Rejected as error:
        raise Rejected(f"spec.{error}") from None
    namespace = str(metadata.get("namespace") or NAMESPACE)
    own = bool(spec.get("delivery"))
    return Trigger(
        name=metadata["name"],
        broker=broker,
        namespace=namespace,
        subscriber=_destination(spec.get("subscriber"), "spec.subscriber", namespace),
        matches=matches,
        delivery=_delivery(spec, namespace, retry_after)
        if own
        else brokers.get(broker, DEFAULT_DELIVERY),
        own_delivery=own,
        ordered=(metadata.get("annotations") or {}).get(ORDERED) == "ordered",
        warnings=tuple(
            f"spec.{place} is empty: Knative skips such a filter, so it passes every event"
            for place in filters.empty_values(spec.get("filters"))
        ),
    )


def _destination(value: object, where: str, namespace: str) -> Destination:
    spec = _mapping(value, where)
    _known(spec, {"ref", "uri", "CACerts", "audience"}, where)
    ref, uri = spec.get("ref"), spec.get("uri", "")
    if not isinstance(uri, str):
        raise Rejected(f"{where}.uri: expected a URI, got {uri!r}")
    absolute = bool(urlsplit(uri).scheme and urlsplit(uri).netloc)
    if ref is None:
        if not absolute:
            raise Rejected(f"{where}: expected a ref or an absolute uri, got {uri!r}")
        return Destination(None, uri)
    if absolute:
        raise Rejected(f"{where}.uri: expected a path beside a ref, got an absolute uri")
    target = _mapping(ref, f"{where}.ref")
    for name in ("apiVersion", "kind", "name"):
        if not isinstance(target.get(name), str) or not target[name]:
            raise Rejected(f"{where}.ref.{name}: expected a string, got {target.get(name)!r}")
    path = uri if not uri or uri.startswith("/") else f"/{uri}"
    return Destination(target["name"], path, str(target.get("namespace") or namespace))


_DELIVERY = {"retry", "backoffPolicy", "backoffDelay", "timeout", "deadLetterSink", "format"}


def _delivery(spec: Mapping[str, Any], namespace: str, retry_after: bool) -> Delivery:
    if not spec.get("delivery"):
        return DEFAULT_DELIVERY
    where = "spec.delivery"
    block = _mapping(spec["delivery"], where)
    _known(block, _DELIVERY | {"retryAfterMax"}, where)
    if "retryAfterMax" in block and not retry_after:
        raise Rejected(f"{where}.retryAfterMax: the feature delivery-retryafter is off; remove it")
    sink = block.get("deadLetterSink")
    return Delivery(
        retry=_retry(block.get("retry", 0), f"{where}.retry"),
        policy=_one_of(block, "backoffPolicy", ("linear", "exponential"), where),
        delay_s=_duration(block, "backoffDelay", where) or 0.0,
        timeout_s=_positive(_duration(block, "timeout", where), f"{where}.timeout"),
        dead_letter=_destination(sink, f"{where}.deadLetterSink", namespace) if sink else None,
        format=_one_of(block, "format", ("binary", "json"), where) or "binary",
        retry_after_max_s=_duration(block, "retryAfterMax", where),
    )


def _retry(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= RETRY_MAX:
        raise Rejected(f"{where}: expected a number of attempts, 0 to {RETRY_MAX}, got {value!r}")
    return value


def _one_of(block: Mapping[str, Any], name: str, allowed: tuple[str, ...], where: str) -> Any:
    value = block.get(name)
    if value is not None and value not in allowed:
        raise Rejected(f"{where}.{name}: expected {' or '.join(allowed)}, got {value!r}")
    return value


_PERIOD = re.compile(
    r"P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:[.,]\d+)?)S)?)?",
    re.ASCII,
)
_UNITS_S = (604_800, 86_400, 3_600, 60, 1)


def _duration(block: Mapping[str, Any], name: str, where: str) -> float | None:
    value = block.get(name)
    if value is None:
        return None
    match = _PERIOD.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Rejected(
            f"{where}.{name}: expected an ISO 8601 duration in weeks to seconds such as PT1.5S, "
            f"got {value!r}"
        )
    parts = (float((part or "0").replace(",", ".")) for part in match.groups())
    return sum(part * unit for part, unit in zip(parts, _UNITS_S, strict=True))


def _positive(value: float | None, where: str) -> float | None:
    if value is not None and value <= 0:
        raise Rejected(f"{where}: expected more than zero seconds, got {value}")
    return value


def _known(spec: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(spec) - known)
    if unknown:
        raise Rejected(f"{where}.{unknown[0]}: unknown field; known are {', '.join(sorted(known))}")


def _mapping(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise Rejected(f"{where}: expected a mapping, got {value!r:.120}")
    return value
