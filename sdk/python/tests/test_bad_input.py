"""What bad resolvers, requests and sources get, as it is printed: `golden/bad_*.case`."""

from __future__ import annotations

import re
import sqlite3
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import creta
from creta import CretaError, Feature, Many, Windowed, count, days, entity, event_time, feature, key, many

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)

PRELUDE = """\
from datetime import datetime
from typing import Annotated

import pyarrow as pa

from creta import Feature, csv, entity, event_time, feature, key, resolver, source, sqlite


@entity
class Sale:
    id: Feature[int] = key()
    amount: Feature[float] = feature()
    at: Feature[datetime] = event_time()
    paid: Feature[bool | None] = feature()
    score: Feature[float] = feature()
    rank: Feature[int] = feature()


"""

RESOLVERS = {
    "one that raises for one row; the message of the exception, which may hold values, is not shown": """
        @resolver
        def score(amount: Annotated[float, Sale.amount]) -> Annotated[float, Sale.score]:
            if amount == 2.0:
                raise ValueError(f"no score for {amount}")
            return amount
    """,
    "one that returns another type for one row": """
        @resolver
        def score(amount: Annotated[float, Sale.amount]) -> Annotated[float, Sale.score]:
            return "two" if amount == 2.0 else amount
    """,
    "one that returns None where its feature is not optional": """
        @resolver
        def score(amount: Annotated[float, Sale.amount]) -> Annotated[float, Sale.score]:
            return None if amount == 2.0 else amount
    """,
    "one that returns fewer results than it declares": """
        @resolver
        def score(
            amount: Annotated[float, Sale.amount],
        ) -> tuple[Annotated[float, Sale.score], Annotated[int, Sale.rank]]:
            return (amount,)
    """,
    "one over frames that raises": """
        @resolver(frame="arrow")
        def score(amount: Annotated[pa.Array, Sale.amount]) -> Annotated[pa.Array, Sale.score]:
            raise KeyError("amount")
    """,
    "one over frames that returns one row too many": """
        @resolver(frame="arrow")
        def score(amount: Annotated[pa.Array, Sale.amount]) -> Annotated[pa.Array, Sale.score]:
            return pa.array([*amount.to_pylist(), 0.0])
    """,
    "one over frames that returns another type": """
        @resolver(frame="arrow")
        def score(amount: Annotated[pa.Array, Sale.amount]) -> Annotated[pa.Array, Sale.score]:
            return pa.array([str(one) for one in amount.to_pylist()])
    """,
    "one over frames that returns no array": """
        @resolver(frame="arrow")
        def score(amount: Annotated[pa.Array, Sale.amount]) -> Annotated[pa.Array, Sale.score]:
            return None
    """,
}


def project(folder: Path, code: str) -> Path:
    folder.mkdir()
    (folder / "creta.toml").write_text('[project]\nname = "shop"\n')
    (folder / "shop.py").write_text(PRELUDE + textwrap.dedent(code))
    return folder


def shown(cell: Any) -> str:
    if cell.error is not None:
        return f"{cell.state}[{cell.error.code}]: {cell.error.message}"
    return str(cell.value) if cell.state == "value" else cell.state


def test_what_bad_resolvers_get(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    cases: list[str] = []
    for number, (name, code) in enumerate(RESOLVERS.items()):
        local = creta.local(project(tmp_path / f"case{number}", code))
        lines: list[str] = []
        for amounts in ([2.0], [1.0, 2.0, 3.0]):
            rows = local.query({"Sale.amount": amounts}, ["Sale.score", "Sale.amount"])
            lines.append(f"{amounts}")
            lines += [f"  {shown(row['Sale.score'])}" for row in rows]
            assert [row["Sale.amount"].value for row in rows] == amounts, (
                "what is asked beside it is not lost"
            )
        answer = "\n".join(lines)
        assert "no score for" not in answer, "an exception's text may hold values"
        cases.append(f"# {name}\n{textwrap.dedent(code).strip()}\n----\n{answer}\n")
    golden("bad_resolvers.case", "\n".join(cases))


SOURCES = {
    "a file that is not there": (
        'sales = source(Sale, csv("sales.csv"), event_time="at", arrival="at")',
        {},
    ),
    "a word where a number belongs": (
        'sales = source(Sale, csv("sales.csv"), event_time="at", arrival="at")',
        {"sales.csv": "id,amount,at\n1,ten,2025-03-01T12:00:00Z\n"},
    ),
    "times without a zone": (
        'sales = source(Sale, csv("sales.csv"), event_time="at", arrival="at")',
        {"sales.csv": "id,amount,at\n1,10.0,2025-03-01T12:00:00\n"},
    ),
    "history that does not say when it was known": (
        'sales = source(Sale, csv("sales.csv"), event_time="at")',
        {"sales.csv": "id,amount,at\n1,10.0,2025-03-01T12:00:00Z\n"},
    ),
    "a file outside the project": (
        'sales = source(Sale, csv("../sales.csv"), event_time="at", arrival="at")',
        {},
    ),
    "a file that is no database": (
        'sales = source(Sale, sqlite("sales.db", "select * from sales"), event_time="at", arrival="at")',
        {"sales.db": "this is text\n"},
    ),
}


def test_what_bad_sources_get(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    cases: list[str] = []
    for number, (name, (code, files)) in enumerate(SOURCES.items()):
        folder = project(tmp_path / f"case{number}", code)
        for file, text in files.items():
            (folder / file).write_text(text)
        with pytest.raises(CretaError) as refused:
            creta.local(folder)
        given = "".join(f"\n{file}\n{textwrap.indent(text.strip(), '  ')}" for file, text in files.items())
        cases.append(f"# {name}\n{code}{given}\n----\n{refused.value}\n")
    golden("bad_sources.case", "\n".join(cases))


def test_sources_are_read_as_the_command_line_reads_them(tmp_path: Path) -> None:
    code = """
        paid = source(
            Sale,
            sqlite("sales.db", "select * from sales"),
            event_time="at",
            arrival="at",
            zone="Europe/Paris",
        )
        more = source(Sale, csv("more.csv"), event_time="at", arrival="at", columns={Sale.amount: "eur"})
    """
    folder = project(tmp_path / "shop", code)
    database = sqlite3.connect(folder / "sales.db")
    database.execute("create table sales(id, amount, at, paid)")
    database.execute(
        "insert into sales values (1, 10, '2025-03-01 12:00:00', 1), (2, 2.5, '2025-03-01 12:00:00', null)"
    )
    database.execute("update sales set amount = 10.0 where id = 1")
    database.commit()
    database.close()
    (folder / "more.csv").write_text(
        "id,eur,at,paid\n3,7.5,2025-03-01T12:00:00+01:00,false\n4,0.5,2025-03-01T11:00:00Z,\n"
    )
    local = creta.local(folder)
    rows = local.query({"Sale.id": [1, 2, 3, 4]}, ["Sale.amount", "Sale.paid", "Sale.at"], as_of=NOON)
    assert [row["Sale.amount"].value for row in rows] == [10.0, 2.5, 7.5, 0.5]
    assert [row["Sale.paid"].get("null") for row in rows] == [True, "null", False, "null"]
    assert {row["Sale.at"].value for row in rows} == {NOON - timedelta(hours=1)}


@entity
class Trip:
    """One trip."""

    id: Feature[int] = key(event_id=True)
    line: Feature[str] = feature()
    at: Feature[datetime] = event_time()


@entity
class Line:
    """One line."""

    name: Feature[str] = key()
    trips: Many[Trip] = many(on=lambda: (Line.name, Trip.line))
    trip_count: Windowed[int] = count(trips, last=days(1))


def trips(gone: bool, **columns: Any) -> pa.Table:
    at = pa.array([NOON], pa.timestamp("us", "UTC"))
    return pa.table({"id": [1], "tram": ["7"], "when": at, "known": at, "gone": [gone], **columns})


def test_s22_a_retraction_takes_its_event_back_and_columns_may_have_other_names() -> None:
    local = creta.local([Line, Trip])

    def ask() -> int:
        row = local.query({Line.name: "7"}, [Line.trip_count[days(1)]], as_of=NOON + timedelta(hours=1))
        return row[Line.trip_count[days(1)]].value

    columns = {Trip.line: "tram", Trip.at: "when"}
    report = local.ingest(Trip, trips(False), arrival="known", retract="gone", columns=columns)
    assert report.ignored_columns == ()
    assert ask() == 1
    local.ingest(Trip, trips(True), arrival="known", retract="gone", columns=columns)
    assert ask() == 0


REQUESTS: dict[str, Callable[[creta.Local], object]] = {
    'local.query({"Line.name": "7"}, ["Line.trip_cuont[1d]"])': lambda local: local.query(
        {"Line.name": "7"}, ["Line.trip_cuont[1d]"]
    ),
    "local.query({Line.name: 7}, [Line.trip_count[days(1)]])": lambda local: local.query(
        {Line.name: 7}, [Line.trip_count[days(1)]]
    ),
    "local.query(..., as_of=datetime(2025, 3, 1))": lambda local: local.query(
        {Line.name: "7"}, [Line.trip_count[days(1)]], as_of=datetime(2025, 3, 1)
    ),
    'local.ingest(Trip, frame, event_time="at")': lambda local: local.ingest(
        Trip, trips(False), event_time="at"
    ),
    'local.ingest(Trip, frame, event_time="when")  # history': lambda local: local.ingest(
        Trip, trips(False, line=["7"]), event_time="when"
    ),
    'local.ingest(Trip, frame, ..., columns={Line.name: "tram"})': lambda local: local.ingest(
        Trip, trips(False), event_time="when", arrival="known", columns={Line.name: "tram"}
    ),
    'local.ingest(Trip, frame, ..., columns={Trip.line: "bus"})': lambda local: local.ingest(
        Trip, trips(False), event_time="when", arrival="known", columns={Trip.line: "bus"}
    ),
    'local.ingest(Trip, frame, ..., retract="removed")': lambda local: local.ingest(
        Trip, trips(False), event_time="when", arrival="known", retract="removed"
    ),
    'local.ingest(Trip, frame, ..., retract="line")  # texts': lambda local: local.ingest(
        Trip, trips(False, line=["7"]), event_time="when", arrival="known", retract="line"
    ),
    "local.ingest(Trip, frame, ...)  # an id that is a float": lambda local: local.ingest(
        Trip, trips(False, line=["7"], id=[1.0]), event_time="when", arrival="known"
    ),
}


def test_what_bad_requests_get(golden: Callable[[str, str], None]) -> None:
    local = creta.local([Line, Trip])
    cases: list[str] = []
    for name, ask in REQUESTS.items():
        with pytest.raises(CretaError) as refused:
            ask(local)
        # Where it was asked is this file, whose lines move.
        answer = re.sub(r"( at +).*(test_bad_input\.py):\d+", r"\1\2", str(refused.value))
        cases.append(f"{name}\n----\n{answer}\n")
    with pytest.raises(CretaError, match="no facts"):
        local.verify()  # None of them stored anything.
    golden("bad_requests.case", "\n".join(cases))
