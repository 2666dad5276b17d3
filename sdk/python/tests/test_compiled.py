"""Compiled resolvers in `creta.local`: what Python would answer, whichever way they are asked."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import creta
from creta import CretaError
from creta._export import export_project
from creta._resolvers import Bound, bind
from creta._values import BeyondInt

FEATURES = """from __future__ import annotations

from typing import Annotated

from creta import Feature, entity, feature, key, resolver
from limits_b import limited

LIMIT = 3


@entity
class Sum:
    id: Feature[int] = key()
    n: Feature[int] = feature()
    cube: Feature[int] = feature()
    share: Feature[float] = feature()
    limits: Feature[int] = feature()
    counted: Feature[int] = feature()


@resolver
def cube(n: Annotated[int, Sum.n]) -> Annotated[int, Sum.cube]:
    return n * n * n


@resolver
def share(n: Annotated[int, Sum.n]) -> Annotated[float, Sum.share]:
    return (
        1.0
        / n
    )


@resolver
def limits(n: Annotated[int, Sum.n]) -> Annotated[int, Sum.limits]:
    return limited(n) * 100 + LIMIT


@resolver
def counted(n: Annotated[int, Sum.n]) -> Annotated[int, Sum.counted]:
    total = 0
    while total < n:
        total += 2
    return total
"""

LIMITS = "LIMIT = 7\n\n\ndef limited(n: int) -> int:\n    return min(n, LIMIT)\n"


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    (tmp_path / "creta.toml").write_text('[project]\nname = "sums"\n')
    (tmp_path / "sums_a.py").write_text(FEATURES)
    (tmp_path / "limits_b.py").write_text(LIMITS)
    yield tmp_path
    for name in ("sums_a", "limits_b"):
        sys.modules.pop(name, None)


def _answers(local: creta.Local, values: list[int], asked: str) -> list[tuple[Any, ...]]:
    """State, value and error of each row: one by one, all at once, and from a training set."""
    entity = f"Sum.{asked}"
    together = local.query({"Sum.n": values}, [entity])
    alone = [local.query({"Sum.n": value}, [entity]) for value in values]
    spine = pa.table({"Sum.n": values, "as_of": pa.array([0] * len(values), pa.timestamp("us", "UTC"))})
    trained = local.training_set(spine, features=[entity], include_states=True).to_arrow()
    shown: list[tuple[Any, ...]] = []
    for at in range(len(values)):
        cells = [rows[entity] for rows in (together[at], alone[at])]
        (first, second) = [(cell.state, cell.raw, cell.error) for cell in cells]
        assert first == second
        assert trained[entity][at].as_py() == cells[0].raw
        assert trained[f"{entity}__state"][at].as_py() == cells[0].state
        shown.append(first)
    return shown


def test_s31_a_result_beyond_64_bits_is_an_error_with_a_name(folder: Path) -> None:
    local = creta.local(folder, facts={})
    rows = _answers(local, [2, 2**21, -(2**21), 2**40], "cube")
    assert [(state, value) for state, value, _ in rows] == [
        ("value", 8),
        ("error", None),
        ("value", -(2**63)),
        ("error", None),
    ]
    error = rows[1][2]
    assert error is not None
    assert (error.code, error.message) == (
        "resolver/overflow",
        "resolver `cube` returned an int beyond 64 bits, which no feature holds",
    )


def test_an_exception_names_the_statement_it_left(folder: Path) -> None:
    local = creta.local(folder, facts={})
    error = _answers(local, [4, 0], "share")[1][2]
    assert error is not None
    line = FEATURES.splitlines().index("    return (") + 1
    assert error.message == f"resolver `share` raised `ZeroDivisionError` at sums_a.py:{line}"


def test_two_modules_keep_their_own_constants_of_one_name(folder: Path) -> None:
    local = creta.local(folder, facts={})
    assert [value for _, value, _ in _answers(local, [1, 50], "limits")] == [103, 703]
    code = next(r["code"] for r in export_project(folder)["graph"]["resolvers"] if r["name"] == "limits")
    assert code.splitlines()[:2] == ["limits_b.LIMIT = 7", "sums_a.LIMIT = 3"]
    # The fingerprint sees either of them change (rule S28).
    (folder / "limits_b.py").write_text(LIMITS.replace("7", "8"))
    for name in ("sums_a", "limits_b"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    changed = next(r["code"] for r in export_project(folder)["graph"]["resolvers"] if r["name"] == "limits")
    assert changed.splitlines()[0] == "limits_b.LIMIT = 8"


def test_a_plan_says_where_each_resolver_runs(folder: Path) -> None:
    local = creta.local(folder, facts={})
    text = str(local.explain({"Sum.n": 1}, ["Sum.cube", "Sum.counted"]))
    assert "resolver `cube`, compiled  (sums_a.py:" in text
    assert "resolver `counted`, in Python  (sums_a.py:" in text
    assert [value for _, value, _ in _answers(local, [5], "counted")] == [6]


def test_python_is_not_called_for_what_is_compiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    original = Bound.call_scalar

    def watched(self: Bound, arguments: Any) -> tuple[Any, ...]:
        called.append(self.name)
        return original(self, arguments)

    local = creta.local(folder, facts={})
    local.query({"Sum.n": 3}, ["Sum.cube"])
    monkeypatch.setattr(Bound, "call_scalar", watched)
    assert local.query({"Sum.n": 3}, ["Sum.cube"])["Sum.cube"].value == 27
    assert local.query({"Sum.n": 3}, ["Sum.counted"])["Sum.counted"].value == 4
    assert local.query({"Sum.n": 2**21}, ["Sum.cube"])["Sum.cube"].state == "error"
    assert called == ["counted", "cube"]


def test_s31_lengths_of_time_beyond_64_bits_are_refused() -> None:
    from datetime import timedelta

    from creta._types import TypeSpec
    from creta._values import checked

    longest = timedelta(microseconds=2**63 - 1)
    assert checked(TypeSpec("timedelta"), longest) == longest
    for beyond in (longest + timedelta(microseconds=1), timedelta.max, timedelta.min):
        with pytest.raises(BeyondInt):
            checked(TypeSpec("timedelta"), beyond)


def test_bound_without_sources_names_no_place() -> None:
    def fails() -> None:
        raise KeyError("hunter2")

    with pytest.raises(CretaError):
        bind(fails)
    bound = Bound("fails", fails, "scalar", False, (), ())
    with pytest.raises(CretaError) as raised:
        bound.call_scalar(())
    assert raised.value.message == "resolver `fails` raised `KeyError`"
