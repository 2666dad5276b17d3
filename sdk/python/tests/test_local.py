"""`creta.local`: the engine of a server in this process, with Python's own resolvers."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import creta
from creta import (
    Feature,
    Many,
    Now,
    One,
    Windowed,
    count,
    days,
    entity,
    event_time,
    feature,
    key,
    many,
    mean,
    one,
    resolver,
)
from creta._answers import Dataset

NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


@entity
class Sale:
    """One sale."""

    id: Feature[int] = key(event_id=True)
    shop: Feature[str] = feature()
    amount: Feature[float | None] = feature()
    at: Feature[datetime] = event_time()
    seller: One[Shop] = one(on=lambda: (Sale.shop, Shop.code))
    share: Feature[float | None] = feature()
    hour: Feature[int] = feature()


@entity
class Shop:
    """One shop."""

    code: Feature[str] = key()
    sales: Many[Sale] = many(on=lambda: (Shop.code, Sale.shop))
    sale_count: Windowed[int] = count(sales, last=(days(1), days(7)))
    amount_mean: Windowed[float] = mean(sales[Sale.amount], last=(days(1), days(7)))


@resolver
def share(
    amount: Annotated[float | None, Sale.amount],
    usual: Annotated[float | None, Sale.seller.amount_mean[days(7)]],
) -> Annotated[float | None, Sale.share]:
    """Raises when the usual amount is zero, on purpose."""
    return None if amount is None or usual is None else amount / usual


@resolver(frame="arrow")
def hour(at: Annotated[pa.Array, Now]) -> Annotated[pa.Array, Sale.hour]:
    import pyarrow.compute as pc

    return pc.cast(pc.hour(at), pa.int64())


def sales(*rows: tuple[int, str, float | None, datetime]) -> pa.Table:
    ids, shops, amounts, at = zip(*rows, strict=True)
    columns = {
        "id": ids,
        "shop": shops,
        "amount": pa.array(amounts, pa.float64()),
        "at": pa.array(at, pa.timestamp("us", "UTC")),
    }
    return pa.table(columns)


HISTORY = sales(
    (1, "rome", 10.0, NOON - timedelta(days=2)),
    (2, "rome", 30.0, NOON - timedelta(hours=3)),
    (3, "oslo", 0.0, NOON - timedelta(hours=2)),
    (4, "rome", None, NOON - timedelta(hours=1)),
    (5, "rome", 70.0, NOON),
)


@pytest.fixture
def local() -> creta.Local:
    return creta.local(project(), facts={Sale: HISTORY})


def project() -> ModuleType:
    return sys.modules[__name__]


def test_s3_the_request_s_own_event_is_not_in_its_history(local: creta.Local) -> None:
    row = local.query({Shop.code: "rome"}, [Shop.sale_count[days(7)], Shop.amount_mean[days(7)]], as_of=NOON)
    assert row[Shop.sale_count[days(7)]].value == 3
    assert row[Shop.amount_mean[days(7)]].value == 20.0
    later = local.query(
        {Shop.code: "rome"}, [Shop.sale_count[days(7)]], as_of=NOON + timedelta(microseconds=1)
    )
    assert later[Shop.sale_count[days(7)]].value == 4


def test_s12_a_cell_is_a_value_or_says_why_not(local: creta.Local) -> None:
    rows = local.query({Sale.id: [2, 4, 3, 99]}, [Sale.amount, Sale.share, Sale.hour], as_of=NOON)
    assert [row[Sale.amount].state for row in rows] == ["value", "null", "value", "missing"]
    assert [row[Sale.share].state for row in rows] == ["value", "null", "error", "null"]
    error = rows[2][Sale.share].error
    assert error is not None
    assert error.code == "resolver/raised"
    assert "ZeroDivisionError" in error.message
    assert "0.0" not in error.message
    assert [row[Sale.hour].value for row in rows] == [12, 12, 12, 12]


def test_a_training_set_says_what_queries_say(local: creta.Local) -> None:
    asked = [Sale.share, Sale.seller.sale_count[days(1)], Sale.hour]
    spine = pa.table({"Sale.id": HISTORY["id"], "at": HISTORY["at"]})
    training = local.training_set(spine, as_of="at", features=asked, include_states=True).to_arrow()
    assert training.num_rows == 5
    for row in range(5):
        question = local.query(
            {Sale.id: spine["Sale.id"][row].as_py()}, asked, as_of=spine["at"][row].as_py()
        )
        for wanted in asked:
            assert training[str(wanted)][row].as_py() == question[wanted].get(None)
            assert training[f"{wanted}__state"][row].as_py() == question[wanted].state


def test_a_training_set_is_written_whole_or_not_at_all(local: creta.Local, tmp_path: Path) -> None:
    spine = pa.table({"Sale.id": HISTORY["id"], "at": HISTORY["at"], "label": [[1], [], None, [2, 3], [4]]})
    spine = spine.replace_schema_metadata({"made": "by hand"})
    data = local.training_set(spine, as_of="at", features=[Sale.share, Sale.seller.sale_count[days(1)]])
    out = tmp_path / "training.parquet"
    for path in (str(out), out):
        data.write_parquet(path)
        read = pq.read_table(out)
        assert read.equals(data.to_arrow())
        assert read.schema.metadata[b"made"] == b"by hand"
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(FileNotFoundError):
        data.write_parquet(tmp_path / "nowhere" / "training.parquet")
    # What Parquet has no form for is refused, and the file that was there stays.
    sizes = pa.UnionArray.from_sparse(pa.array([0, 0, 0, 0, 0], pa.int8()), [pa.array([1, 2, 3, 4, 5])])
    odd = Dataset(data.table.append_column("sizes", sizes), data.features, data.seconds)
    with pytest.raises(ValueError, match="no form as Parquet"):
        odd.write_parquet(out)
    assert pq.read_table(out).equals(data.to_arrow())
    assert list(tmp_path.iterdir()) == [out]


def test_verify_finds_no_difference_and_its_own_fault(local: creta.Local) -> None:
    report = local.verify(samples=200)
    assert report.planted_fault_seen
    assert report.differences == 0
    assert report.compared >= 200


def test_mistakes_say_what_and_what_to_do(local: creta.Local) -> None:
    with pytest.raises(creta.CretaError, match="time zone") as naive:
        local.query({Shop.code: "rome"}, [Shop.sale_count[days(1)]], as_of=datetime(2025, 3, 1))
    assert naive.value.help
    with pytest.raises(creta.CretaError, match=r"did you mean `Shop\.sale_count`"):
        local.query({"Shop.code": "rome"}, ["Shop.sale_cuont[1d]"], as_of=NOON)
    history = pa.table(
        {"id": [9], "shop": ["rome"], "amount": [1.0], "at": pa.array([NOON], pa.timestamp("us", "UTC"))}
    )
    with pytest.raises(creta.CretaError, match="does not say when it became known") as load:
        local.ingest(Sale, history, event_time="at")
    assert load.value.help
    assert "arrival" in load.value.help


def test_what_creta_init_writes_works_at_once(tmp_path: Path) -> None:
    binary = os.environ.get("CRETA_BINARY")
    if binary is None:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    environment = os.environ | {"CRETA_PYTHON": sys.executable}
    for command in (
        [binary, "init", "shop"],
        [binary, "check", "shop"],
        [sys.executable, "-m", "pytest", "-q", "shop"],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
