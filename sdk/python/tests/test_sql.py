"""Spines out of databases."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pytest

import creta
from creta import CretaError


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE orders (customer TEXT, asked TEXT, amount REAL, label INTEGER)")
    rows = [("ana", "2025-03-01T12:00:00Z", 10.5, 1), ("bo", "2025-03-01T13:00:00+01:00", None, 0)]
    connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
    yield connection
    connection.close()


def test_an_answer_is_a_table_with_instants(database: sqlite3.Connection) -> None:
    query = 'SELECT customer AS "Order.customer", asked, amount, label FROM orders ORDER BY label'
    spine = creta.from_sql(database, query, instants=["asked"])
    assert spine.column_names == ["Order.customer", "asked", "amount", "label"]
    assert spine["Order.customer"].to_pylist() == ["bo", "ana"]
    noon = datetime(2025, 3, 1, 12, tzinfo=UTC)
    assert spine["asked"].to_pylist() == [noon, noon]
    assert spine["amount"].to_pylist() == [None, 10.5]


def test_attack_ch26_values_are_parameters_and_never_text(database: sqlite3.Connection) -> None:
    hostile = "ana' OR '1'='1"
    query = "SELECT customer FROM orders WHERE customer = ?"
    assert creta.from_sql(database, query, (hostile,)).num_rows == 0
    assert creta.from_sql(database, query, ("ana",)).num_rows == 1


def test_what_is_no_table_is_refused(database: sqlite3.Connection) -> None:
    def code(query: str, instants: tuple[str, ...] = ()) -> str:
        with pytest.raises(CretaError) as refused:
            creta.from_sql(database, query, instants=instants)
        return refused.value.code

    assert code("SELECT customer, amount AS customer FROM orders") == "frame/two-columns"
    assert code("CREATE TABLE other (n INTEGER)") == "frame/no-rows"
    assert code("SELECT customer FROM orders", ("customer",)) == "time/no-instant"
    assert code("SELECT customer FROM orders", ("asked",)) == "frame/no-column"


def test_a_database_that_answers_in_arrow_is_read_as_it_is() -> None:
    class Cursor:
        description = (("n",),)

        def execute(self, operation: str, parameters: object = ()) -> None:
            assert (operation, parameters) == ("SELECT 1", ())

        def fetch_arrow_table(self) -> pa.Table:
            return pa.table({"n": [1]})

        def fetchall(self) -> list[tuple[int]]:
            raise AssertionError("not row by row")

        def close(self) -> None: ...

    class Connection:
        def cursor(self) -> Cursor:
            return Cursor()

    assert creta.from_sql(Connection(), "SELECT 1").to_pydict() == {"n": [1]}
