"""The guide to training sets, done as written: its files are made and its commands run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "training-sets.md"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_guide_to_training_sets_works_as_written(tmp_path: Path) -> None:
    ran = []
    for kind, info, body in BLOCK.findall(GUIDE.read_text()):
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
    assert ran == ["$ python train.py"]
    assert (tmp_path / "training.parquet").stat().st_size > 0
