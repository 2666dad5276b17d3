"""Values of numpy, pandas, polars and Arrow, in and out: nothing is guessed or lost (rules S15, S17, S20)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import creta
from creta import (
    CretaError,
    Feature,
    Nulls,
    Scale,
    Vector,
    _requests,
    entity,
    event_time,
    feature,
    key,
    resolver,
)
from creta._frames import to_table

NEW_YORK = ZoneInfo("America/New_York")
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
BIG = 2**53 + 1
"""An int that no float is."""


class Level(Enum):
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True)
class Place:
    city: str
    since: datetime | None


@entity
class Item:
    """One of everything."""

    id: Feature[int] = key()
    at: Feature[datetime] = event_time()
    ok: Feature[bool | None] = feature()
    n: Feature[int | None] = feature()
    x: Feature[float | None] = feature()
    name: Feature[str | None] = feature()
    raw: Feature[bytes | None] = feature()
    price: Feature[Annotated[Decimal, Scale(2)] | None] = feature()
    day: Feature[date | None] = feature()
    seen: Feature[datetime | None] = feature()
    took: Feature[timedelta | None] = feature()
    level: Feature[Level | None] = feature()
    place: Feature[Place | None] = feature()
    counts: Feature[list[int | None] | None] = feature()
    names: Feature[list[str] | None] = feature()
    taste: Feature[Annotated[list[float], Vector(2)] | None] = feature()
    made: Feature[list[int | None] | None] = feature()
    twice: Feature[int | None] = feature()
    ends: Feature[datetime | None] = feature()


@resolver(frame="pandas")
def twice(n: Annotated[Any, Item.n, Nulls]) -> Annotated[Any, Item.twice]:
    return n * 2


@resolver(frame="arrow")
def made(names: Annotated[Any, Item.names]) -> Annotated[Any, Item.made]:
    return names  # Texts are no ints, not even "1".


@resolver(frame="pandas")
def ends(took: Annotated[Any, Item.took]) -> Annotated[Any, Item.ends]:
    return pd.Timestamp(0, tz="UTC") - took - pd.Timedelta(1, "ns")


def sent(inputs: dict[Any, Any], as_of: Any = None) -> dict[str, Any]:
    """The inputs of a query as JSON."""
    return _requests.query(inputs, [Item.n], as_of, None, None).json["inputs"]


def local(**columns: Any) -> creta.Local:
    """An engine that knows two items, seen at noon."""
    return creta.local([Item, twice, made, ends], facts={Item: {"id": [1, 2], "at": [NOON, NOON], **columns}})


def answers(engine: creta.Local, *asked: Any) -> list[list[Any]]:
    rows = engine.query({Item.id: [1, 2]}, list(asked), as_of=NOON)
    return [[row[one].raw for row in rows] for one in asked]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pd.Series(["a", None]), ["a", None]),
        (pd.Series(["a", float("nan")], dtype=object), ["a", None]),
        (pd.Series(["a", pd.NA], dtype="string"), ["a", None]),
        (pd.Series(["a", None], dtype="category"), ["a", None]),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.Index(["a", None]), ["a", None]),
        (pl.Series(["a", None]), ["a", None]),
        (pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        (pl.Series(["a", None], dtype=pl.Enum(["a"])), ["a", None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.array(["a", None], pa.large_string()), ["a", None]),
        (np.array(["a", None], dtype=object), ["a", None]),
        (["a", pd.NA], ["a", None]),
        (np.array(["a", "b"]), ["a", "b"]),
    ],
)
@pytest.mark.parametrize("path", [Item.name, "Item.name"])
def test_a_missing_text_is_null(values: Any, expected: list[Any], path: Any) -> None:
    assert sent({path: values}) == {"Item.name": expected}


def test_nan_is_a_number_or_refused() -> None:
    nan = float("nan")
    assert sent({Item.x: [1.0, nan, np.float32("inf")]})["Item.x"] == [1.0, "NaN", "Infinity"]
    assert sent({Item.x: nan})["Item.x"] == ["NaN"]
    assert sent({"Item.x": [1.0, nan]})["Item.x"] == [1.0, "NaN"]
    assert sent({Item.x: pd.Series([1.0, nan])})["Item.x"] == [1.0, None], "as in a frame of pandas"
    assert sent({Item.taste: [1.0, nan]})["Item.taste"] == [[1.0, "NaN"]]
    for which in (Item.name, Item.id):
        with pytest.raises(CretaError, match="got `NaN`"):
            sent({which: ["a", nan]})
    for values in (["a", nan], nan, np.array([nan, nan])):
        with pytest.raises(CretaError, match="cannot be told from its path") as refused:
            sent({"Item.name": values})
        assert refused.value.help


@pytest.mark.parametrize(
    ("which", "value", "got"),
    [
        (Item.name, b"abc", "bytes"),
        (Item.name, Decimal("1.5"), "a Decimal"),
        (Item.name, date(2025, 1, 1), "a date"),
        (Item.day, NOON, "a datetime"),
        (Item.n, timedelta(seconds=5), "a timedelta"),
        (Item.n, np.timedelta64(5, "s"), "a timedelta"),
        (Item.seen, date(2025, 1, 1), "a date"),
        (Item.names, [b"a"], "bytes"),
        (Item.place, Place("Rome", date(2025, 1, 1)), "a date"),  # type: ignore[arg-type]
    ],
)
def test_s20_what_json_writes_as_something_else_is_refused(which: Any, value: Any, got: str) -> None:
    with pytest.raises(CretaError) as refused:
        sent({which: value})
    assert (refused.value.code, refused.value.message.endswith(f"got {got}")) == ("value/wrong-type", True)


def test_scalars_of_numpy_are_plain_values() -> None:
    values = {Item.n: np.int8(3), Item.x: np.float32(0.5), Item.ok: np.bool_(True), Item.name: np.str_("a")}
    assert list(sent(values).values()) == [[3], [0.5], [True], ["a"]]
    assert sent({Item.n: np.array([1, 2], "u1")})["Item.n"] == [1, 2]
    assert sent({Item.day: np.array(["2025-01-01", "NaT"], "M8[D]")})["Item.day"] == ["2025-01-01", None]
    assert sent({Item.taste: np.array([0.5, 1.5], "f4")})["Item.taste"] == [[0.5, 1.5]]
    for value in (bytearray(b"ab"), memoryview(b"ab"), b"ab"):
        assert sent({Item.raw: value})["Item.raw"] == ["YWI="]


@pytest.mark.parametrize(
    ("value", "micros"),
    [
        (np.timedelta64(5_000_000_000, "ns"), 5_000_000),
        (np.timedelta64(5, "D"), 432_000_000_000),
        (np.timedelta64(1, "W"), 604_800_000_000),
        (np.timedelta64(7, "2s"), 14_000_000),
        (np.timedelta64(-1, "ns"), -1),
        (np.timedelta64("NaT"), None),
        (pd.Timedelta(-1, "ns"), -1),
        (pd.NaT, None),
        (timedelta(microseconds=7), 7),
    ],
)
def test_s17_lengths_of_time_are_floored_to_microseconds(value: Any, micros: int | None) -> None:
    assert sent({Item.took: value})["Item.took"] == [micros]
    assert sent({Item.took: [value, None]})["Item.took"] == [micros, None]


def test_lengths_in_arrays_keep_their_unit() -> None:
    seconds = [timedelta(seconds=5), timedelta(seconds=-1)]
    for values in (np.array(seconds, "m8[ns]"), pd.Series(seconds), pl.Series(seconds), pa.array(seconds)):
        assert sent({Item.took: values})["Item.took"] == [5_000_000, -1_000_000], type(values)
    with pytest.raises(CretaError, match="no length of time"):
        sent({Item.took: np.timedelta64(1, "M")})


@pytest.mark.parametrize(
    "as_of",
    [
        np.array(["2025-01-01"], "M8[ns]"),
        np.array(["2025-01-01"], "M8[us]"),
        np.datetime64("2025-01-01T00:00:00"),
        [np.datetime64("2025-01-01T00:00:00", "ns")],
        pd.Series([datetime(2025, 1, 1)]),
        pl.Series([datetime(2025, 1, 1)]),
        pa.array([datetime(2025, 1, 1)]),
        [NOON, datetime(2025, 1, 1)],
    ],
)
def test_s15_instants_without_a_zone_are_refused(as_of: Any) -> None:
    with pytest.raises(CretaError) as refused:
        sent({Item.id: 1}, as_of)
    assert refused.value.code == "time/naive"
    with pytest.raises(CretaError) as refused:
        sent({Item.seen: as_of})
    assert refused.value.code == "time/naive"


@pytest.mark.parametrize(
    "as_of", [date(2025, 1, 1), 7, [NOON, None], [NOON, pd.NaT], np.datetime64("2025-01-01")]
)
def test_what_is_no_instant_is_said(as_of: Any) -> None:
    with pytest.raises(CretaError) as refused:
        sent({Item.id: 1}, as_of)
    assert refused.value.code == "time/no-instant"
    assert "2025" not in refused.value.message


def test_instants_of_any_zone_and_library_are_the_same_instant() -> None:
    there = NOON.astimezone(NEW_YORK)
    again = datetime(2025, 11, 2, 1, 30, tzinfo=NEW_YORK, fold=1)
    for values in (
        [there, again],
        pd.Series([there, again]),
        pl.Series([there, again]),
        pa.array([there, again]),
    ):
        query = _requests.query({Item.id: [1, 2]}, [Item.n], values, None, None).json
        assert query["as_of"] == ["2025-03-01T12:00:00Z", "2025-11-02T06:30:00Z"]
        assert local(seen=values).query({Item.id: 2}, [Item.seen], as_of=NOON)[
            Item.seen
        ].value == again.astimezone(UTC)


def test_rows_are_lists_of_values_and_lists_can_be_values() -> None:
    assert sent({Item.names: ["a", "b"]})["Item.names"] == [["a", "b"]]
    assert sent({Item.names: [["a"], ["b", "c"]]})["Item.names"] == [["a"], ["b", "c"]]
    assert sent({Item.names: [None, ["b"]]})["Item.names"] == [None, ["b"]]
    series = pd.Series([["a"], ["b"]], index=[7, 8])
    assert sent({Item.names: series})["Item.names"] == [["a"], ["b"]], "whatever its index"
    assert sent({Item.names: pl.Series([["a"], None])})["Item.names"] == [["a"], None]
    assert sent({Item.taste: np.zeros((2, 2))})["Item.taste"] == [[0.0, 0.0], [0.0, 0.0]]
    assert sent({Item.counts: [1, None]})["Item.counts"] == [[1, None]]
    assert sent({Item.place: Place("Rome", NOON)})["Item.place"] == [
        {"city": "Rome", "since": "2025-03-01T12:00:00Z"}
    ]
    for values in ({"b", "a"}, pd.DataFrame({"a": [1]}), pl.DataFrame({"a": [1]})):
        with pytest.raises(CretaError, match="no order of rows"):
            sent({Item.name: values})
    with pytest.raises(CretaError, match=r"`Item\.n` is given twice"):
        sent({Item.n: 1, "Item.n": 2})


def test_one_feature_is_no_list_of_features() -> None:
    engine = local()
    asks: list[Callable[[], object]] = [
        lambda: engine.query({Item.id: 1}, Item.n, as_of=NOON),  # type: ignore[arg-type]
        lambda: engine.query([Item.id], [Item.n]),  # type: ignore[arg-type]
        lambda: engine.training_set({"Item.id": [1]}, features=Item.n),  # type: ignore[arg-type]
        lambda: engine.training_set({"Item.id": [1]}, features="Item.n"),
    ]
    for ask in asks:
        with pytest.raises(CretaError) as refused:
            ask()
        assert refused.value.code == "request/bad-value"
        assert refused.value.help


def test_known_as_of_may_be_given_per_row() -> None:
    query = _requests.query({Item.id: 1}, [Item.n], None, [NOON, NOON], None)
    assert (query.json["inputs"], query.single) == ({"Item.id": [1, 1]}, False)


AWARE, NAIVE = datetime(2025, 1, 1, 12, tzinfo=NEW_YORK), datetime(2025, 1, 1, 12)


@pytest.mark.parametrize("pair", [[AWARE, NAIVE], [NAIVE, AWARE], [AWARE, np.datetime64(NAIVE)]])
@pytest.mark.parametrize(
    "make",
    [
        dict,
        lambda columns: pd.DataFrame(
            {name: pd.Series(values, dtype=object) for name, values in columns.items()}
        ),
        lambda columns: {name: [[value] for value in values] for name, values in columns.items()},
        lambda columns: {name: [{"a": value} for value in values] for name, values in columns.items()},
    ],
    ids=["lists", "pandas", "nested lists", "structs"],
)
def test_s15_datetimes_with_and_without_a_zone_do_not_mix(
    pair: list[Any], make: Callable[[Any], Any]
) -> None:
    naive = next(row for row, at in enumerate(pair) if not isinstance(at, datetime) or at.tzinfo is None)
    with pytest.raises(CretaError) as refused:
        to_table(make({"at": pair}))
    assert refused.value.code == "time/naive"
    assert f"in row {naive}" in refused.value.message


def test_s15_mixed_datetimes_are_refused_wherever_frames_come_in() -> None:
    engine = local()
    for pair in ([AWARE, NAIVE], [NAIVE, AWARE]):
        with pytest.raises(CretaError, match="column `at` in row"):
            engine.ingest(Item, {"id": [1, 2], "at": pair}, arrival=timedelta(0), zone="America/New_York")
        with pytest.raises(CretaError, match="column `as_of` in row"):
            engine.training_set({"Item.id": [1, 2], "as_of": pair}, features=[Item.n])


@pytest.mark.parametrize(
    "values",
    [
        [date(2025, 1, 1), NOON],
        [NOON, date(2025, 1, 1)],
        [np.bool_(True), 3],
        [1, True],
        [True, 0.5],
        [b"a", "b"],
        ["b", b"a"],
        ["a", 1],
    ],
)
def test_s20_columns_of_two_sorts_are_refused(values: list[Any]) -> None:
    for frame in ({"x": values}, pd.DataFrame({"x": pd.Series(values, dtype=object)})):
        with pytest.raises(CretaError) as refused:
            to_table(frame)
        assert refused.value.code == "frame/mixed-column"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ({"x": [2**63]}, "frame/bad-column"),
        ({"x": [0.5, BIG]}, "frame/bad-column"),
        ({"x": [object()]}, "frame/bad-column"),
        ({"x": 7}, "frame/bad-column"),
        ({"x": [1], "y": [1, 2]}, "frame/other-length"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), "frame/two-columns"),
        (pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["x", "x"]), "frame/two-columns"),
        (pd.Series([1]), "frame/unknown"),
        (pl.Series([1]), "frame/unknown"),
        (pl.LazyFrame({"x": [1]}), "frame/unknown"),
        ([1], "frame/unknown"),
    ],
)
def test_frames_that_cannot_be_read_are_refused_without_their_values(frame: Any, code: str) -> None:
    with pytest.raises(CretaError) as refused:
        to_table(frame)
    assert refused.value.code == code
    assert str(BIG) not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


FULL: dict[str, tuple[Any, list[Any]]] = {
    "ok": ([True, None], [True, None]),
    "n": ([BIG, None], [BIG, None]),
    "x": ([0.5, None], [0.5, None]),
    "name": (["é", None], ["é", None]),
    "raw": ([b"\x00", None], [b"\x00", None]),
    "price": ([Decimal("12.50"), None], [Decimal("12.50"), None]),
    "day": ([date(2025, 1, 1), None], [date(2025, 1, 1), None]),
    "seen": ([AWARE, None], [AWARE, None]),
    "took": ([timedelta(microseconds=-1), None], [timedelta(microseconds=-1), None]),
    "level": (["high", None], [Level.HIGH, None]),
    "counts": ([[BIG, None], None], [[BIG, None], None]),
    "names": ([["a"], None], [["a"], None]),
    "taste": ([[0.5, 1.5], None], [[0.5, 1.5], None]),
}


@pytest.mark.parametrize(
    "make",
    [
        dict,
        pa.table,
        pl.DataFrame,
        lambda columns: pd.DataFrame({n: pd.Series(v, dtype=object) for n, v in columns.items()}),
        lambda columns: pa.table(columns).to_pandas(types_mapper=pd.ArrowDtype),
    ],
    ids=["lists", "arrow", "polars", "pandas objects", "pandas arrow"],
)
def test_facts_come_back_as_they_went_in(make: Callable[[Any], Any]) -> None:
    given = {name: values for name, (values, _) in FULL.items()}
    facts = make({"id": [1, 2], "at": [NOON, NOON], **given})
    engine = creta.local([Item, twice, made, ends], facts={Item: facts})
    asked = [getattr(Item, name) for name in FULL]
    assert answers(engine, *asked) == [expected for _, expected in FULL.values()]


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("name", pd.Series(["a", None], dtype="category"), ["a", None]),
        ("name", pl.Series(["a", None], dtype=pl.Categorical), ["a", None]),
        ("level", pl.Series(["low", None], dtype=pl.Enum(["low", "high"])), [Level.LOW, None]),
        ("level", [Level.LOW, None], [Level.LOW, None]),
        ("level", pd.Series([Level.LOW, None]), [Level.LOW, None]),
        ("name", pa.array(["a", None], pa.large_string()), ["a", None]),
        ("name", pa.array(["a", None]).dictionary_encode(), ["a", None]),
        ("price", pl.Series([Decimal("1.5"), None]), [Decimal("1.50"), None]),
        ("n", pl.Series([1, None], dtype=pl.UInt64), [1, None]),
        ("n", np.array([1, 2], "u1"), [1, 2]),
        ("n", [np.int64(1), pd.NA], [1, None]),
        ("x", np.array([0.5, 2], "f4"), [0.5, 2.0]),
        (
            "took",
            np.array([5_000_000_000, -1000], "m8[ns]"),
            [timedelta(seconds=5), timedelta(microseconds=-1)],
        ),
        ("place", [Place("Rome", NOON), None], [Place("Rome", NOON), None]),
        ("place", [Place("Rome", NOON), Place("Oslo", None)], [Place("Rome", NOON), Place("Oslo", None)]),
        ("seen", pl.Series([AWARE, None]), [AWARE, None]),
        ("seen", pd.Series([AWARE, pd.NaT], dtype=object), [AWARE, None]),
        ("counts", [[1, None], []], [[1, None], []]),
        ("n", [None, None], [None, None]),
    ],
)
def test_columns_of_other_libraries_are_read(name: str, column: Any, expected: list[Any]) -> None:
    assert answers(local(**{name: column}), getattr(Item, name)) == [expected]


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("n", pa.array([2**63, 1], pa.uint64())),
        ("n", pd.Series([1.0, None])),
        ("name", pa.array([b"a", b"b"])),
        ("day", [NOON, NOON]),
        ("seen", [date(2025, 1, 1)] * 2),
        ("price", [Decimal("1.005"), None]),
        ("level", ["medium", None]),
        ("seen", pl.Series([NAIVE, NAIVE])),
    ],
)
def test_s20_columns_of_other_types_are_refused(name: str, column: Any) -> None:
    with pytest.raises(CretaError) as refused:
        local(**{name: column})
    assert refused.value.code.startswith(("value/", "time/"))


def test_s21_pandas_keeps_ints_and_truth_values_with_gaps() -> None:
    engine = local(n=[BIG, None], ok=[True, None], counts=[[BIG, None], [1]], names=[["a"], ["b"]])
    spine = {
        "Item.id": [1, 2],
        "as_of": [NOON, NOON],
        "ref": pa.array([BIG, None]),
        "small": pa.array([7, None], pa.uint8()),
        "whole": [1, 2],
    }
    asked = [Item.n, Item.ok, Item.counts]
    data = engine.training_set(spine, features=asked).to_pandas()
    assert data["ref"].tolist() == [BIG, pd.NA]
    assert [str(data[name].dtype) for name in ("ref", "small", "whole")] == ["Int64", "UInt8", "int64"]
    rows = engine.query({Item.id: [1, 2]}, asked, as_of=NOON).to_pandas()
    for frame in (data, rows):
        assert frame["Item.n"].tolist() == [BIG, pd.NA]
        assert frame["Item.ok"].tolist() == [True, pd.NA]
        assert list(frame["Item.counts"][0]) == [BIG, None]


def test_nested_instants_keep_their_zone_in_pandas() -> None:
    from creta._frames import to_pandas

    kind = pa.timestamp("us", "UTC")
    table = pa.table({"at": pa.array([[NOON]], pa.list_(kind)), "in": pa.array([{"at": NOON, "n": BIG}])})
    frame = to_pandas(table)
    assert frame["at"][0][0] == NOON
    assert frame["in"][0] == {"at": NOON, "n": BIG}


def test_answers_by_path_are_typed_as_answers_by_feature() -> None:
    engine = local(
        price=[Decimal("12.50"), None],
        counts=[[BIG, None], [1]],
        taste=[[0.5, 1.5], [2.0, 3.0]],
        seen=[AWARE, AWARE],
        took=[timedelta(1), None],
    )
    features = [Item.price, Item.counts, Item.taste, Item.seen, Item.took]
    typed = engine.query({Item.id: [1, 2]}, features, as_of=NOON)
    named = engine.query({"Item.id": [1, 2]}, [str(one) for one in features], as_of=NOON)
    assert named.to_arrow().equals(typed.to_arrow())
    assert named.to_pandas()["Item.price"].tolist() == [Decimal("12.50"), None]
    assert named.to_polars().schema["Item.price"] == pl.Decimal(38, 2)
    assert [row["Item.counts"].raw for row in named] == [[BIG, None], [1]]
    nothing = engine.query({"Item.id": 7}, ["Item.price"], as_of=NOON)
    assert nothing._rows.to_arrow()["Item.price"].to_pylist() == [None]
    assert typed[np.int64(0)].to_dict() == typed[0].to_dict()


def test_resolvers_over_frames_lose_nothing_and_guess_nothing() -> None:
    engine = local(
        n=[BIG, None], names=[["1"], ["2"]], took=pa.array([timedelta(microseconds=1), timedelta(0)])
    )
    rows = engine.query({Item.id: [1, 2]}, [Item.twice, Item.made, Item.ends], as_of=NOON)
    assert [row[Item.twice].raw for row in rows] == [BIG * 2, None]
    assert {row[Item.made].error.code for row in rows if row[Item.made].error} == {"resolver/wrong-type"}
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert [row[Item.ends].raw for row in rows] == [
        epoch - timedelta(microseconds=2), epoch - timedelta(microseconds=1),
    ]  # fmt: skip
