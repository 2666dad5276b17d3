"""Logs of any size verify; a changed byte in any file of any of them is noticed.

How many cases: see `conftest.py`.
"""

# pyright: strict

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import creta_verify_log as verifier
from log_builder import (
    LOG,
    ORIGIN,
    WITNESS,
    checkpoint,
    consistency_file,
    consistency_path,
    corrupt,
    entries_of,
    export,
    inclusion_file,
    leaf,
    tree_hash,
    write,
)


def is_verified(folder: Path, *more: str) -> bool:
    """As `run`, for property tests, which may not share a fixture between examples."""
    report = verifier.Report()
    options = verifier.parse_arguments(["log", str(folder), "--key", LOG.vkey, *more])
    try:
        verifier.run(options, report)
    except verifier.NotVerifiedError:
        return False
    return report.reason() is None


EDGES = [1, 255, 256, 257, 511, 512, 513, 767, 768, 769, 1023, 1024, 1025, 1279, 1280, 1281, 1792, 2000]
ALL_ENTRIES = entries_of(2000)
SIZES = st.integers(1, 2000) | st.sampled_from(EDGES)


@given(size=SIZES, data=st.data())
def test_every_size_verifies_and_extends_every_smaller_one(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, size))
    with TemporaryDirectory() as name:
        folder = export(Path(name), ALL_ENTRIES[:size])
        since = Path(name) / "older"
        since.write_text(checkpoint(ALL_ENTRIES[:old]))
        assert is_verified(folder, "--since", str(since))


@given(entries=st.integers(1, 2000), old=st.integers(1, 2000))
def test_consistency_of_any_two_sizes(entries: int, old: int) -> None:
    note = verifier.Note("", ())
    small, large = sorted((entries, old))
    leaves = [leaf(entry) for entry in ALL_ENTRIES[:large]]
    older = verifier.Checkpoint(note, ORIGIN, small, tree_hash(leaves[:small]))
    newer = verifier.Checkpoint(note, ORIGIN, large, tree_hash(leaves))
    path = consistency_path(small, leaves)
    verifier.check_consistency(older, newer, path)
    for wrong in (path[:-1], [*path, older.root], path[1:]):
        if wrong != path:
            with pytest.raises(verifier.NotVerifiedError):
                verifier.check_consistency(older, newer, wrong)


@pytest.fixture(scope="module")
def flippable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with old partial tiles too; tests flip one byte and put it back."""
    entries = ALL_ENTRIES[:530]
    folder = tmp_path_factory.mktemp("flippable")
    export(folder, entries[:515], only="tile")
    return export(folder, entries, checkpoint(entries, witnesses=[WITNESS]))


@given(data=st.data(), mask=st.integers(1, 255))
def test_any_changed_byte_in_any_file_is_noticed(flippable: Path, data: st.DataObject, mask: int) -> None:
    files = sorted(path for path in flippable.rglob("*") if path.is_file())
    file = data.draw(st.sampled_from(files), label="file")
    at = data.draw(st.integers(0, file.stat().st_size - 1), label="at")
    assert not verifies_after_flip(flippable, file, at, mask)


def verifies_after_flip(folder: Path, file: Path, at: int, mask: int) -> bool:
    corrupt(file, at, mask)
    try:
        return is_verified(folder, "--witness", WITNESS.vkey)
    finally:
        corrupt(file, at, mask)


@pytest.mark.parametrize("name", ["checkpoint", "verifier-key"])
def test_every_changed_byte_of_the_small_files_is_noticed(tmp_path: Path, name: str) -> None:
    entries = ALL_ENTRIES[:2]
    folder = export(tmp_path, entries, checkpoint(entries, witnesses=[WITNESS]))
    assert is_verified(folder, "--witness", WITNESS.vkey)
    for at in range((folder / name).stat().st_size):
        for mask in (1, 1 << at % 8):
            assert not verifies_after_flip(folder, folder / name, at, mask), (at, mask)


@given(at=st.integers(0, 10_000), mask=st.integers(1, 255), kind=st.sampled_from(["proof", "consistency"]))
@example(at=0, mask=1, kind="proof")
def test_any_changed_byte_in_a_proof_is_noticed(at: int, mask: int, kind: str) -> None:
    text = inclusion_file(ALL_ENTRIES[:21], 13) if kind == "proof" else consistency_file(ALL_ENTRIES[:21], 13)
    with TemporaryDirectory() as name:
        file = Path(name) / "proof"
        file.write_text(text)
        options = verifier.parse_arguments([kind, str(file), "--key", LOG.vkey, "--witness", WITNESS.vkey])
        verifier.run(options, verifier.Report())
        corrupt(file, at % file.stat().st_size, mask)
        with pytest.raises((verifier.NotVerifiedError, verifier.UnusableError)):
            verifier.run(options, verifier.Report())


@given(data=st.binary(max_size=600) | st.text(alphabet="\u2014 \nab+=0", max_size=60).map(str.encode))
def test_no_file_makes_the_verifier_fail_otherwise(data: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = export(Path(name), [])
        for path in ("checkpoint", "tile/entries/000.p/3"):
            before = (folder / path).read_bytes() if (folder / path).exists() else None
            write(folder, path, data)
            assert not is_verified(folder)
            if before is not None:
                write(folder, path, before)
        for kind in ("proof", "consistency"):
            options = verifier.parse_arguments(
                [kind, str(folder / "tile/entries/000.p/3"), "--key", LOG.vkey]
            )
            with pytest.raises(verifier.NotVerifiedError):
                verifier.run(options, verifier.Report())
