"""Who may do what at the console: every route, every method, every credential.

There are two roles: nobody (no or a wrong token) and a person (the token; the name is what they
say). There is one tenant, the store: whoever holds the token sees every cluster's incidents. What
keeps incidents apart is that each route reads records of the incident in its address, and no other.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from casebook import T0, Casebook, fault
from starlette.routing import compile_path
from test_web import Console

from faultline import views
from faultline.adapters.stores.memory import MemoryStore
from faultline.incidents import Incidents
from faultline.model import Resource
from faultline.web.app import Console as Routes

TOKEN = "s3cret-token"
METHODS = (
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
)
HEALTH = {"/health", "/health/liveness", "/health/readiness"}


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


NOBODY = {
    "none": {},
    "empty": {"authorization": ""},
    "a wrong token": {"authorization": f"Bearer {TOKEN}x"},
    "a part of it": {"authorization": f"Bearer {TOKEN[:-1]}"},
    "another case": {"authorization": f"Bearer {TOKEN.upper()}"},
    "the token as a name": {"authorization": basic(TOKEN, "")},
    "a wrong password": {"authorization": basic("maria", "hunter2")},
    "no base64": {"authorization": "Basic !!!"},
    "in a cookie": {"cookie": f"token={TOKEN}; authorization=Bearer {TOKEN}"},
    "in another header": {"x-api-key": TOKEN, "x-forwarded-user": "admin"},
}
PERSON = {
    "bearer": {"authorization": f"Bearer {TOKEN}"},
    "basic": {"authorization": basic("maria", TOKEN)},
}


def routes() -> list[tuple[str, bool]]:
    """Return every route of the console, and whether it changes something."""
    console = Routes(Incidents(MemoryStore()), None, lambda: T0, "x", None, 1.0)
    return [(path, act) for path, _, act in console.routes()]


def filled(path: str, id: str) -> str:
    """Put values into a route's places; an act that exists, a record that is there."""
    values = {"id": id, "name": "api", "act": "close", "day": "2026-11-21"}
    if "/files/" in path:
        values["name"] = "incident.json"
    if path.startswith("/dead-letters/"):
        values["name"] = "x.json"
    if path.startswith("/static/"):
        values["name"] = "page.css"
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda m: values[m[1]], path)


@pytest.fixture
def console() -> Console:
    made = Console(token=TOKEN)
    made.incidents.store.put("parked/2026-11-21/x.json", b"{}")
    return made


def everything(console: Console) -> dict[str, bytes]:
    store = console.incidents.store
    return {key: store.get(key) for key in store.list("")}


def cells() -> Iterator[Any]:
    for path, act in routes():
        if path not in ("/events", "/api/events"):  # endless once open; below
            yield pytest.param(path, act, id=path)


@pytest.mark.covers("UI-05")
def test_every_place_in_every_route_is_known_to_this_table() -> None:
    for path, _ in routes():
        _, _, places = compile_path(path)
        assert set(places) <= {"id", "name", "act", "day"}, path


@pytest.mark.covers("UI-05")
@pytest.mark.parametrize(("path", "act"), list(cells()))
def test_nobody_gets_anything_but_health(path: str, act: bool, console: Console) -> None:
    id = console.book.packaged()
    views.write(console.incidents, id, 1)
    address, before = filled(path, id), everything(console)

    for who, headers in NOBODY.items():
        for method in METHODS:
            answer = console.ask(method, address, headers=headers)
            if path in HEALTH:
                assert answer.status_code == (200 if method in ("GET", "HEAD") else 405), method
            else:
                assert answer.status_code == 401, (who, method)
                assert answer.headers["www-authenticate"].startswith("Basic realm=")
                assert id not in answer.text

    assert (everything(console), console.sent) == (before, [])


@pytest.mark.covers("UI-05")
@pytest.mark.parametrize(("path", "act"), list(cells()))
def test_a_person_reads_with_get_and_acts_with_post_and_a_form_alone(
    path: str, act: bool, console: Console
) -> None:
    id = console.book.packaged()
    views.write(console.incidents, id, 1)
    address, before = filled(path, id), everything(console)

    for headers in PERSON.values():
        for method in METHODS:
            answer = console.ask(method, address, headers=headers)
            if method in ("GET", "HEAD"):
                assert answer.status_code == (405 if act else 200), method
            else:  # without a form of ours, or with a method that no route has
                assert answer.status_code in (403, 405), method
            same = console.ask(method, address, headers=headers | {"sec-fetch-site": "same-origin"})
            if method == "POST":  # the address of a page may be that of an act which there is not
                assert same.status_code in ((403,) if act else (403, 405))
            elif method not in ("GET", "HEAD"):
                assert same.status_code == 405, method

    assert (everything(console), console.sent) == (before, [])


@pytest.mark.covers("UI-05")
@pytest.mark.parametrize("path", ["/events", "/api/events"])
def test_nobody_listens_to_events(path: str, console: Console) -> None:
    for who, headers in NOBODY.items():
        for method in METHODS:
            assert console.ask(method, path, headers=headers).status_code == 401, (who, method)
    for method in METHODS[2:]:
        assert console.ask(method, path, headers=PERSON["bearer"]).status_code in (403, 405)


@pytest.mark.covers("UI-05")
def test_no_address_of_one_incident_gives_away_another(console: Console) -> None:
    def about(name: str, cluster: str) -> Any:
        where = Resource(kind="Pod", name=name, namespace="shop")
        return fault(condition=name, cluster=cluster, summary=f"only {name}", resource=where)

    ours = console.book.packaged(about("mine-0", "prod-eu"))
    theirs = console.book.packaged(about("theirs-0", "prod-us"))
    asked = PERSON["bearer"]
    records = sorted(console.incidents.names(theirs))

    for path in ("", "/report", "/files/incident.json", "/files/README.md"):
        text = console.get(f"/incidents/{ours}{path}", headers=asked).text
        assert "theirs-0" not in text, path
    for name in records:
        for other in (f"../{theirs}/{name}", f"..%2f{theirs}%2f{name}", f"%2e%2e/{theirs}/{name}",
                      f"/incidents/{theirs}/{name}", f"./../{theirs}/{name}"):  # fmt: skip
            answer = console.get(f"/incidents/{ours}/files/{other}", headers=asked)
            assert answer.status_code in (400, 404), other
            assert "only theirs" not in answer.text


@pytest.mark.covers("UI-05")
def test_the_form_of_one_incident_acts_on_no_other(console: Console) -> None:
    book: Casebook = console.book
    first, second = book.packaged(), book.packaged(fault(condition="other"))
    page = console.get(f"/incidents/{first}", headers=PERSON["bearer"]).text
    tokens = dict(re.findall(r'action="([^"]+)">\s*<input[^>]*value="(\w+)"', page))
    assert tokens

    for token in tokens.values():
        for act in ("close", "retry", "cancel"):
            answer = console.ask(
                "POST", f"/incidents/{second}/{act}", data={"token": token},
                headers=PERSON["bearer"] | {"sec-fetch-site": "same-origin"},
            )  # fmt: skip
            assert answer.status_code == 403

    assert console.incidents.closed(second) is None
