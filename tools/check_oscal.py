"""Validates OSCAL documents with another tool: `trestle validate`, in a workspace of its own.

    python tools/check_oscal.py FOLDER [--trestle PATH]

FOLDER holds `catalog.json`, `component-definition.json` and `assessment-results.json`.
`cargo nextest run -p creta-compliance oscal` leaves the three for a small log in `target/tmp/oscal`.
Trestle checks the form. That references lead somewhere is checked by
`creta_compliance::oscal::check_references`, since trestle lets them dangle.

Trestle is no dependency of Creta. Install it apart, in the version that is named here:

    python -m venv ~/.cache/creta/trestle
    ~/.cache/creta/trestle/bin/pip install compliance-trestle==5.2.0

Ends with 0 if every document is valid, 1 if one is not, 2 if there is nothing to check or to check with.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import cast

TRESTLE_VERSION = "5.2.0"
OSCAL_VERSION = "1.2.1"
TRESTLE_HOME = Path.home() / ".cache" / "creta" / "trestle" / "bin" / "trestle"
# The document's file, the folder that a trestle workspace has for its kind, and the name it goes by there.
DOCUMENTS = {
    "catalog.json": ("catalogs", "catalog.json"),
    "component-definition.json": ("component-definitions", "component-definition.json"),
    "assessment-results.json": ("assessment-results", "assessment-results.json"),
}


class CannotCheck(Exception):
    """There is nothing to check, or nothing to check with. Says what to do."""


def find_trestle(given: str | None) -> str:
    """The program: as given, where this page says to install it, or on the path; of our version."""
    asked = str(Path(given).absolute()) if given else None  # It is run from another folder.
    found = asked or (str(TRESTLE_HOME) if TRESTLE_HOME.exists() else shutil.which("trestle"))
    if not found:
        raise CannotCheck(f"trestle is not installed; see the first lines of {Path(__file__).name}")
    version = run([found, "version"], Path.cwd())
    if f"v{TRESTLE_VERSION} " not in version.stdout:
        raise CannotCheck(f"`{found}` is not trestle {TRESTLE_VERSION}: {version.stdout.strip()}")
    return found


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program and keeps what it says."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "NO_COLOR": "1"}
    try:
        return subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, env=environment
        )
    except OSError as error:
        raise CannotCheck(f"`{command[0]}` cannot be run: {error.strerror}") from error


def version_of(file: Path) -> str:
    """The version of OSCAL that a document says it follows."""
    try:
        document: object = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return "not JSON"
    if not isinstance(document, dict):
        return "none"
    # The one member is named after the document's kind.
    (contents, *_) = [*cast("dict[str, object]", document).values(), None]
    metadata = cast("dict[str, object]", contents).get("metadata") if isinstance(contents, dict) else None
    version = cast("dict[str, object]", metadata).get("oscal-version") if isinstance(metadata, dict) else None
    return "none" if version is None else str(version)


def check(folder: Path, trestle: str) -> list[tuple[str, bool, str]]:
    """Each document of the folder: its file, whether it is valid, and what was said of it."""
    files = [folder / name for name in DOCUMENTS]
    lacking = [file.name for file in files if not file.is_file()]
    if lacking:
        raise CannotCheck(f"`{folder}` has no {', '.join(lacking)}")
    results: list[tuple[str, bool, str]] = []
    with tempfile.TemporaryDirectory(prefix="creta-oscal-") as name:
        workspace = Path(name)
        made = run([trestle, "init", "--local"], workspace)
        if made.returncode != 0:
            raise CannotCheck(f"trestle makes no workspace: {(made.stdout + made.stderr).strip()}")
        for file in files:
            kind, placed = DOCUMENTS[file.name]
            target = workspace / kind / "creta" / placed
            target.parent.mkdir(parents=True)
            shutil.copyfile(file, target)
            validated = run([trestle, "validate", "-f", str(target)], workspace)
            said = (validated.stdout + validated.stderr).strip()
            version = version_of(file)
            if version != OSCAL_VERSION:
                said = f"it follows OSCAL {version}, not {OSCAL_VERSION}\n{said}"
            results.append((file.name, validated.returncode == 0 and version == OSCAL_VERSION, said))
    return results


def main(arguments: list[str] | None = None) -> int:
    """Checks, prints a line for each document, and says how it ended."""
    parser = argparse.ArgumentParser(description="Validates OSCAL documents with trestle.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--trestle", metavar="PATH", help="the program, where it is neither on the path nor in its home"
    )
    given = parser.parse_args(arguments)
    try:
        results = check(given.folder, find_trestle(given.trestle))
    except CannotCheck as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name, valid, said in results:
        print(f"{name}: {'valid' if valid else 'NOT valid'}")
        if not valid:
            print(said, file=sys.stderr)
    return 0 if all(valid for _, valid, _ in results) else 1


if __name__ == "__main__":
    sys.exit(main())
