"""Made-up data: `creta.synth`, `creta synth`, and the guide's page about them, done as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import creta

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "guide" / "synthetic-data.md"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EVERYTHING = Path(__file__).parent / "project"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project that says everything once, with its resolvers enabled here too."""
    folder = tmp_path_factory.mktemp("everything") / "project"
    shutil.copytree(EVERYTHING, folder, ignore=shutil.ignore_patterns("__pycache__"))
    shop = folder / "features" / "shop.py"
    shop.write_text(shop.read_text().replace('environments=("prod", "staging"), ', ""))
    return folder


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody did what the page says."""
    binary = os.environ.get("CRETA_BINARY")
    if binary is None:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    folder = tmp_path_factory.mktemp("page")
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "creta").symlink_to(binary)
    (bin_folder / "python").symlink_to(sys.executable)
    environment = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "CRETA_PYTHON": sys.executable,
    }
    commands = 0
    for kind, info, body in BLOCK.findall(PAGE.read_text()):
        if kind != "console":
            (folder / info.strip().removeprefix("file=")).write_text(body)
            continue
        for line in body.splitlines():
            done = subprocess.run(
                ["bash", "-c", line.removeprefix("$ ")],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            commands += 1
    assert commands == 3
    return folder


def test_the_page_works_as_written_and_writes_what_it_says(followed: Path) -> None:
    orders = pq.read_table(followed / "made" / "Order.parquet")
    users = pq.read_table(followed / "made" / "User.parquet")
    assert (orders.num_rows, users.num_rows) == (1000, 50)
    assert set(orders["user"].to_pylist()) <= set(users["id"].to_pylist())
    assert all(re.fullmatch(r"[a-z]{3,8}@[a-z]{4,9}\.com", email) for email in users["email"].to_pylist())
    assert all(18 <= age <= 99 for age in users["age"].to_pylist())
    csv = pyarrow.csv.read_csv(followed / "made-csv" / "User.csv")
    assert csv.num_rows == 10
    assert csv.column_names == ["id", "email", "age", "plan"]


def test_every_type_of_a_definition_can_be_made_up_and_is_taken(project: Path) -> None:
    between = (datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 2, 2, tzinfo=UTC))
    facts = creta.synth(project, rows=40, seed=3, between=between)
    by_name = {entity.__name__: table for entity, table in facts.items()}
    assert set(by_name) == {"Order", "Place", "User"}
    assert all(between[0] <= at <= between[1] for at in by_name["Order"]["at"].to_pylist())
    local = creta.local(project, facts=facts)
    assert local.verify(samples=200).passed
    # A relation of two features leads to one row of the other entity.
    places = {(row["user"], row["name"]) for row in by_name["Place"].to_pylist()}
    assert {(row["user"], row["receipt"]) for row in by_name["Order"].to_pylist()} <= places


def test_the_same_seed_gives_the_same_and_another_does_not(project: Path) -> None:
    one, again, other = (creta.synth(project, rows=20, seed=seed) for seed in (1, 1, 2))
    tables = [[table.to_pylist() for table in made.values()] for made in (one, again, other)]
    assert tables[0] == tables[1]
    assert tables[0] != tables[2]


def test_mistakes_say_what_to_do(project: Path) -> None:
    with pytest.raises(creta.CretaError, match="share of nulls"):
        creta.synth(project, nulls=1.5)
    with pytest.raises(creta.CretaError, match="rows are more than are made at once"):
        creta.synth(project, rows=1 << 40)
    with pytest.raises(creta.CretaError, match="ends before it begins"):
        creta.synth(project, between=(datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)))


def test_made_up_tables_carry_no_label(project: Path) -> None:
    """They are nobody's, so they go anywhere."""
    for table in creta.synth(project, rows=3).values():
        assert isinstance(table, pa.Table)
        assert not table.schema.metadata
