"""The guides to training sets, datasets and leakage, done as written: their files are made and their commands
run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GUIDES = Path(__file__).parents[3] / "docs" / "guide"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("page", "commands", "made"),
    [
        ("training-sets.md", ["$ python train.py"], "training.parquet"),
        ("datasets.md", ["$ python keep.py"], None),
        ("leakage.md", ["$ python audit.py"], None),
    ],
)
def test_a_guide_works_as_written(tmp_path: Path, page: str, commands: list[str], made: str | None) -> None:
    ran = []
    for kind, info, body in BLOCK.findall((GUIDES / page).read_text()):
        if kind == "python":
            (tmp_path / info.strip().removeprefix("file=")).write_text(body)
            continue
        if kind != "console":  # What needs a server is tried with one.
            continue
        for line in body.splitlines():
            program, *arguments = line.removeprefix("$ ").split()
            assert program == "python", line
            path = os.pathsep.join([str(tmp_path), *sys.path])
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": path},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
            ran.append(line)
    assert ran == commands
    assert made is None or (tmp_path / made).stat().st_size > 0
