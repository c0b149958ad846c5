import pytest

from faultline.capsule import Capsule
from faultline.evidence import check, quote
from faultline.model import Evidence

FILE = "context/logs.txt"
CAPSULE = Capsule({FILE: "erste Zeile\nGröße 64Mi\nlimit 64Mi\n".encode()})


def test_a_quote_says_its_line_and_its_bytes():
    found = quote(CAPSULE, FILE, "64Mi")

    assert found == Evidence(file=FILE, quote="64Mi", line=2, start=20, end=24)
    assert CAPSULE.read(FILE)[20:24] == b"64Mi"
    assert quote(CAPSULE, FILE, "64Mi", after=21).line == 3


def test_what_does_not_stand_there_is_no_evidence():
    assert quote(CAPSULE, FILE, "128Mi") is None
    assert quote(CAPSULE, FILE, "") is None
    assert quote(CAPSULE, "context/other.txt", "64Mi") is None


def test_evidence_without_a_place_gets_the_first():
    assert check(CAPSULE, Evidence(file=FILE, quote="limit")).line == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 19, "end": 23},
        {"start": 20, "end": 25},
        {"start": 20},
        {"start": 20, "end": 24, "line": 3},
        {"line": 1},
        {"line": 99},
    ],
)
def test_a_wrong_place_is_no_evidence(wrong):
    assert check(CAPSULE, Evidence(file=FILE, quote="64Mi", **wrong)) is None


def test_a_right_place_stays():
    placed = quote(CAPSULE, FILE, "64Mi", after=21)

    assert check(CAPSULE, placed) == placed
    assert check(CAPSULE, Evidence(file=FILE, quote="64Mi", line=3)) == placed
