"""What `check_oscal.py` makes of what trestle says.

Trestle itself is installed apart; a program of a few lines stands in for it here.
"""

# pyright: strict

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

import check_oscal

STAND_IN = """#!/bin/sh
case "$1" in
  version) echo "Trestle version v{version} based on OSCAL version 1.2.1" ;;
  init) mkdir .trestle ;;
  validate) test -d .trestle || exit 3; if grep -q 4711 "$3"; then echo "INVALID: $3"; exit 4; fi ;;
esac
"""


@pytest.fixture
def trestle(tmp_path: Path) -> Path:
    return stand_in(tmp_path / "trestle", check_oscal.TRESTLE_VERSION)


def stand_in(file: Path, version: str) -> Path:
    file.write_text(STAND_IN.format(version=version))
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return file


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "oscal"
    folder.mkdir()
    for name in check_oscal.DOCUMENTS:
        write(folder / name, {"oscal-version": check_oscal.OSCAL_VERSION})
    return folder


def write(file: Path, metadata: dict[str, str]) -> None:
    file.write_text(json.dumps({file.stem: {"metadata": metadata}}))


def ends(folder: Path, trestle: Path) -> int:
    return check_oscal.main([str(folder), "--trestle", str(trestle)])


def test_valid_documents(documents: Path, trestle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends(documents, trestle) == 0
    assert capsys.readouterr().out.splitlines() == [f"{name}: valid" for name in check_oscal.DOCUMENTS]


@pytest.mark.parametrize("name", check_oscal.DOCUMENTS)
def test_one_document_that_is_not_valid(
    name: str, documents: Path, trestle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(documents / name, {"oscal-version": check_oscal.OSCAL_VERSION, "title": "4711"})
    assert ends(documents, trestle) == 1
    said = capsys.readouterr()
    assert f"{name}: NOT valid" in said.out.splitlines()
    assert "INVALID" in said.err


@pytest.mark.parametrize(
    "content", ['{"catalog": {"metadata": {"oscal-version": "1.1.3"}}}', "[]", "{", "{}"]
)
def test_a_document_of_another_version_or_of_none(content: str, documents: Path, trestle: Path) -> None:
    (documents / "catalog.json").write_text(content)
    assert ends(documents, trestle) == 1


@pytest.mark.parametrize("name", check_oscal.DOCUMENTS)
def test_a_document_that_is_missing(
    name: str, documents: Path, trestle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (documents / name).unlink()
    assert ends(documents, trestle) == 2
    assert name in capsys.readouterr().err


def test_another_version_of_trestle_or_none(
    documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends(documents, stand_in(tmp_path / "older", "4.0.0")) == 2
    assert "is not trestle 5.2.0" in capsys.readouterr().err
    assert ends(documents, tmp_path / "nowhere") == 2
    assert "cannot be run" in capsys.readouterr().err
