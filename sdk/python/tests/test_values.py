"""Values between Python, JSON and Arrow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from creta._batches import arrow_type, from_arrow, to_arrow
from creta._errors import CretaError
from creta._time import instant_text, parse_instant, parse_span, span_text
from creta._types import TypeSpec, read_type
from creta._values import WrongType, checked, decimal_text, from_json, to_json, to_python


class Level(Enum):
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True)
class Place:
    city: str
    since: datetime | None


INT, FLOAT, TEXT, AT = TypeSpec("int"), TypeSpec("float"), TypeSpec("str"), TypeSpec("datetime")
LEVEL = TypeSpec("enum", name="Level", members=("low", "high"), python=Level)
PLACE = TypeSpec("struct", name="Place", fields=(("city", TEXT, False), ("since", AT, True)), python=Place)

texts = st.text(st.characters(exclude_categories=["Cs"]))
instants = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
decimals = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal(f"{n}e-4"))
typed_values: Any = st.one_of(
    st.tuples(st.just(TypeSpec("bool")), st.booleans()),
    st.tuples(st.just(INT), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just(FLOAT), st.floats()),
    st.tuples(st.just(TEXT), texts),
    st.tuples(st.just(TypeSpec("bytes")), st.binary()),
    st.tuples(st.just(TypeSpec("decimal", scale=4)), decimals),
    st.tuples(st.just(TypeSpec("date")), st.dates()),
    st.tuples(st.just(AT), instants),
    st.tuples(st.just(TypeSpec("timedelta")), st.timedeltas(timedelta(-100_000_000), timedelta(100_000_000))),
    st.tuples(st.just(LEVEL), st.sampled_from(Level)),
    st.tuples(st.just(PLACE), st.builds(Place, texts, st.none() | instants)),
    st.tuples(
        st.just(TypeSpec("list", item=INT, item_optional=True)), st.lists(st.none() | st.integers(-9, 9))
    ),
    st.tuples(st.just(TypeSpec("list", item=AT)), st.lists(instants)),
    st.tuples(st.just(TypeSpec("list", item=PLACE)), st.lists(st.builds(Place, texts, st.none() | instants))),
    st.tuples(st.just(TypeSpec("vector", size=2)), st.lists(st.floats(width=32), min_size=2, max_size=2)),
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        return left == right or (math.isnan(left) and math.isnan(right))
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and type(left) is type(right)


@settings(max_examples=300, deadline=None)
@given(typed_values)
def test_values_survive_json_and_arrow(typed: tuple[TypeSpec, Any]) -> None:
    spec, value = typed
    assert same(to_python(spec, from_json(spec, to_json(spec, value))), value)
    column = to_arrow(spec, [checked(spec, value), None])
    assert column.type == arrow_type(spec)
    back = from_arrow(spec, column)
    assert same(to_python(spec, back[0]), value)
    assert back[1] is None


@settings(max_examples=300, deadline=None)
@given(typed_values, typed_values)
def test_s20_nothing_is_guessed(typed: tuple[TypeSpec, Any], other: tuple[TypeSpec, Any]) -> None:
    spec, value = typed[0], other[1]
    allowed = {spec.kind} | ({"int"} if spec.kind in ("float", "decimal") else set())
    if spec.kind in ("list", "vector"):
        allowed |= {"list", "vector"}
    if other[0].kind not in allowed:
        if spec.kind == "enum" and value in spec.members:
            return
        with pytest.raises(WrongType) as refused:
            checked(spec, value)
        assert str(value) not in str(refused.value) or len(str(value)) < 12


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        (INT, True),
        (INT, 1.0),
        (INT, 2**63),
        (FLOAT, True),
        (FLOAT, "1"),
        (FLOAT, Decimal(1)),
        (TypeSpec("bool"), 1),
        (TEXT, Level.LOW),
        (TEXT, "\ud800"),
        (LEVEL, "middle"),
        (AT, datetime(2020, 1, 1)),
        (TypeSpec("date"), datetime(2020, 1, 1, tzinfo=UTC)),
        (TypeSpec("decimal", scale=2), Decimal("0.001")),
        (TypeSpec("decimal", scale=2), Decimal("NaN")),
        (TypeSpec("decimal", scale=2), Decimal(10) ** 37),
        (PLACE, {"city": "Rome", "country": "IT"}),
        (PLACE, {"since": None}),
        (TypeSpec("list", item=INT), [None]),
        (TypeSpec("vector", size=2), [1.0]),
    ],
)
def test_s20_what_does_not_fit_is_refused(spec: TypeSpec, value: Any) -> None:
    with pytest.raises(WrongType):
        checked(spec, value)


@given(st.integers(0, 10**15))
def test_spans_survive(micros: int) -> None:
    span = timedelta(microseconds=micros)
    assert parse_span(span_text(span)) == span


def test_spans_are_written_in_their_largest_whole_unit() -> None:
    spans = {
        "7d": timedelta(days=7),
        "90m": timedelta(minutes=90),
        "0s": timedelta(0),
        "250ms": timedelta(0, 0, 250_000),
    }
    assert {text: span_text(span) for text, span in spans.items()} == {text: text for text in spans}
    for bad in ("", "d", "7", "1w", "-1d", "1.5h"):
        with pytest.raises(ValueError, match="length of time"):
            parse_span(bad)


@given(instants)
def test_s15_instants_survive(at: datetime) -> None:
    assert parse_instant(instant_text(at)) == at


def test_s15_a_naive_datetime_is_refused_with_its_remedy() -> None:
    with pytest.raises(CretaError) as refused:
        instant_text(datetime(2013, 7, 1), "`as_of`")
    assert (refused.value.code, refused.value.message) == ("time/naive", "`as_of` has no time zone")
    assert "tzinfo=timezone.utc" in (refused.value.help or "")


def test_decimals_have_exactly_their_scale() -> None:
    assert [decimal_text(Decimal(d), 2) for d in ("1", "-0.5", "1E+3", "0", "-0")] == [
        "1.00", "-0.50", "1000.00", "0.00", "0.00",
    ]  # fmt: skip
    assert decimal_text(Decimal("12"), 0) == "12"


def test_types_are_read_from_annotations() -> None:
    from creta import Location

    at = Location("x.py", 1)
    assert read_type(float | None, "it", at) == (FLOAT, True)
    spec, optional = read_type(list[Place | None], "it", at)
    assert (spec.item, spec.item_optional, optional) == (PLACE, True, False)
    assert TypeSpec.from_json(spec.to_json()) == spec
    with pytest.raises(CretaError, match="cannot be stored"):
        read_type(dict[str, int], "it", at)
