import pytest
from pydantic import BaseModel, ValidationError

from faultline.answers import Outcome, is_final, reason, to_alertmanager, to_broker
from faultline.errors import (
    AlreadyExists,
    Busy,
    NotAllowed,
    NotAnEvent,
    NotFound,
    Rejected,
    TooLarge,
    TryAgain,
    Unavailable,
)


class Shape(BaseModel):
    name: str


def wrong_shape():
    try:
        Shape.model_validate({"name": {"password": "hunter2"}})
    except ValidationError as error:
        return error
    raise AssertionError


# what happened: (to a Broker, to AlertManager)
TABLE = {
    "done, or a duplicate": (Outcome.DONE, 204, 204),
    "someone was first": (AlreadyExists("there"), 204, 204),
    "taken on": (Outcome.ACCEPTED, 202, 202),
    "unreadable": (NotAnEvent("expected an event"), 400, 400),
    "never acceptable": (Rejected("expected an incident"), 400, 400),
    "data of another shape": (wrong_shape(), 400, 400),
    "over a limit": (TooLarge("expected less"), 413, 413),
    "sender may not": (NotAllowed("expected a fault"), 403, 403),
    "sender unknown": (Outcome.UNKNOWN_SENDER, 401, 401),
    "no room": (Busy("full", retry_after_s=7), 429, 503),
    "in need of another": (Unavailable("store"), 503, 503),
    "to be tried again": (TryAgain("later"), 503, 503),
    "no record where one must be": (NotFound("gone"), 500, 500),
    "a bug": (ZeroDivisionError("secret"), 500, 500),
    "not a POST": (Outcome.NOT_A_POST, 405, 405),
}


@pytest.mark.covers("CE-03")
@pytest.mark.parametrize("case", TABLE)
def test_each_sender_gets_the_status_of_its_own_table(case):
    what, broker, alertmanager = TABLE[case]

    assert (to_broker(what).status, to_alertmanager(what).status) == (broker, alertmanager)


@pytest.mark.parametrize("case", TABLE)
def test_a_broker_never_gets_a_body(case):
    assert to_broker(TABLE[case][0]).body == b""


@pytest.mark.parametrize("case", TABLE)
def test_other_senders_get_one_line_with_every_4xx_and_nothing_else(case):
    status, headers, body = to_alertmanager(TABLE[case][0])

    if 400 <= status < 500:
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert body.decode().startswith("expected ") or case == "data of another shape"
        assert body.count(b"\n") == 1
        assert body.endswith(b"\n")
    else:
        assert body == b""


@pytest.mark.parametrize("case", TABLE)
def test_alertmanager_never_gets_a_redirect_nor_a_429(case):
    status = to_alertmanager(TABLE[case][0]).status

    assert not 300 <= status < 400
    assert status != 429


@pytest.mark.parametrize("sender", [to_broker, to_alertmanager])
def test_no_room_says_when_to_come_back(sender):
    assert sender(Busy("full", retry_after_s=7)).headers["retry-after"] == "7"


@pytest.mark.parametrize("sender", [to_broker, to_alertmanager])
def test_another_method_is_told_which_are_allowed(sender):
    assert sender(Outcome.NOT_A_POST).headers["allow"] == "POST, OPTIONS"


def test_a_reason_names_the_place_but_never_the_value():
    said = reason(wrong_shape())

    assert said == "name: Input should be a valid string"
    assert "hunter2" not in said


def test_a_reason_is_one_short_line():
    assert reason(Rejected("a\nb\r\n" + "c" * 1000)) == ("a b " + "c" * 1000)[:400]
    assert reason(Rejected()) == "Rejected"


def test_only_what_can_never_be_accepted_is_final():
    final = {case for case, (what, *_) in TABLE.items() if isinstance(what, Exception)}

    assert {case for case in final if is_final(TABLE[case][0])} == {
        "unreadable",
        "never acceptable",
        "data of another shape",
        "over a limit",
        "sender may not",
    }
