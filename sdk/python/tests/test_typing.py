"""pyright and mypy in strict mode over the package, the example and what users write."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SDK = HERE.parent
EXAMPLE = SDK.parents[1] / "examples" / "flights"
FEEL, MISTAKES = HERE / "typed" / "feel.py", HERE / "typed" / "mistakes.py"


def _mypy(*paths: Path, cwd: Path = SDK) -> list[str]:
    """Lines of errors as `file:line`."""
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *map(str, paths)]
    environment = {"MYPYPATH": f"{SDK / 'src'}:{EXAMPLE}", "PATH": "/usr/bin:/bin"}
    out = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment).stdout
    return [
        f"{Path(m[1]).name}:{m[2]}" for m in re.finditer(r"^(.+?):(\d+):(?:\d+:)? error", out, flags=re.M)
    ]


def _pyright(folder: Path, files: list[Path]) -> list[str]:
    """The same for pyright."""
    config = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        "extraPaths": [str(SDK / "src"), str(EXAMPLE)],
        "reportPrivateUsage": False,
    }
    for file in files:
        target = folder / file.name
        target.write_text(file.read_text())
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "-p",
        str(folder),
    ]
    report = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    errors = [one for one in report["generalDiagnostics"] if one["severity"] == "error"]
    return [f"{Path(one['file']).name}:{one['range']['start']['line'] + 1}" for one in errors]


def _expected() -> list[str]:
    lines = MISTAKES.read_text().splitlines()
    return [f"mistakes.py:{number}" for number, line in enumerate(lines, 1) if line.endswith("# error")]


def test_what_users_write_has_the_types_they_expect(tmp_path: Path) -> None:
    assert _mypy(FEEL) == []
    assert _pyright(tmp_path, [FEEL]) == []


def test_mistakes_are_found_by_both(tmp_path: Path) -> None:
    assert sorted(set(_mypy(MISTAKES))) == sorted(_expected())
    assert sorted(set(_pyright(tmp_path, [MISTAKES]))) == sorted(_expected())


@pytest.mark.parametrize("where", [SDK, EXAMPLE], ids=["package", "example"])
def test_the_package_and_the_example_are_strict(where: Path) -> None:
    assert _mypy(where / "src" if where == SDK else where / "features", cwd=where) == []
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, cwd=where).stdout)
    assert report["summary"]["errorCount"] == 0
    assert report["summary"]["filesAnalyzed"] > 1


def test_importing_is_light() -> None:
    code = (
        "import sys, creta; print([m for m in ('pyarrow', 'httpx', 'pandas', 'polars') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SDK / "src")}
    )
    assert out.stdout.strip() == "[]", out.stderr
