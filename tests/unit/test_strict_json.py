import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultline import strict_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_what_is_written_is_read_again_and_every_reader_agrees(value):
    written = strict_json.dumps(value)

    assert strict_json.loads(written) == value
    assert json.loads(written) == value


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "line 1, column 1"),
        (b"NaN", "NaN is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e999", "too large"),
        (b'{"a":1,"b":{"c":1,"c":2}}', "a name appears twice"),
        (b"\xff", "not UTF-8"),
        (b'"\\ud800"', "a lone surrogate"),
        (b"[" * 100_000, "too deep"),
        (b"\xef\xbb\xbf1", "BOM"),
        (b"1" * 5000, "4300 digits"),
    ],
)
def test_what_is_not_json_is_refused(data, said):
    with pytest.raises(ValueError, match=said):
        strict_json.loads(data)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {1, 2}, "\ud800", b"bytes", object()]
)
def test_what_cannot_be_json_is_not_written(value):
    with pytest.raises(ValueError):
        strict_json.dumps(value)


def test_a_reason_never_shows_the_value():
    with pytest.raises(ValueError) as refused:
        strict_json.loads(b'{"password": "hunter2" "x"}')

    assert "hunter2" not in str(refused.value)
