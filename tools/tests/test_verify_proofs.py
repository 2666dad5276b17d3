"""Proof files: that an entry stands in the log, and that the log only grew."""

# pyright: strict

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import pytest

import creta_verify_log as verifier
from log_builder import (
    WITNESS,
    checkpoint,
    consistency_file,
    entries_of,
    entry_at,
    inclusion_file,
    inclusion_path,
    leaf,
    tree_hash,
)
from verdict import Run, refused


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 64, 65])
def test_every_entry_has_a_proof_and_no_other_entry_has_it(size: int) -> None:
    leaves = [leaf(entry) for entry in entries_of(size)]
    root = tree_hash(leaves)
    for index in range(size):
        path = inclusion_path(index, leaves)
        assert verifier.root_of_inclusion(leaves[index], index, size, path) == root
        for wrong in ([*path, root], path[:-1]):
            if wrong != path:
                with pytest.raises(verifier.NotVerifiedError, match=r"too (many|few) hashes"):
                    verifier.root_of_inclusion(leaves[index], index, size, wrong)
        for other in range(size):
            if other != index:
                with suppress(verifier.NotVerifiedError):
                    assert verifier.root_of_inclusion(leaves[index], other, size, path) != root


def test_a_proof_file(tmp_path: Path, run: Run) -> None:
    entries = entries_of(300)
    file, entry = tmp_path / "p.tlog-proof", tmp_path / "entry"
    file.write_text(inclusion_file(entries, 123))
    verdict = run("proof", file, "--witness", WITNESS.vkey)
    assert (verdict.code, verdict.lines[-2]) == (0, f"entry 123: {entries[123].decode()}")
    assert verdict.last.startswith("verified: 300 entries, root ")

    file.write_text(inclusion_file(entries, 123, embed=False))
    assert run("proof", file).code == 2
    entry.write_bytes(entries[123])
    assert run("proof", file, "--entry", entry).code == 0
    entry.write_bytes(entries[124])
    refused(run("proof", file, "--entry", entry), "does not lead from this entry")
    file.write_text(inclusion_file(entries, 123))
    refused(run("proof", file, "--entry", entry), "not the one given")


@pytest.mark.parametrize(
    ("pattern", "replacement", "why"),
    [
        ("index 123", "index 122", "does not lead"),
        ("index 123", "index 300", "not in a log of 300"),
        ("index 123", "index 0123", "the index"),
        ("index 123\n", "", "no line `index`"),
        ("index 123\n", "index 123\nindex 123\n", "hash 0"),
        ("@v1", "@v2", "not a proof"),
        ("extra .*\n", "extra e30=\n", "does not lead"),
        ("extra ", "extra =", "`extra` is not base64"),
        ("\n\n(?=creta)", "\n", "not a signed note|has no checkpoint|hash"),
        ("prod/audit\n300", "prod/audit\n301", "the signature of"),
    ],
)
def test_a_changed_proof_file(tmp_path: Path, run: Run, pattern: str, replacement: str, why: str) -> None:
    text = inclusion_file(entries_of(300), 123)
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    (tmp_path / "proof").write_text(changed)
    verdict = run("proof", tmp_path / "proof")
    refused(verdict)
    assert re.search(why, verdict.last), verdict.last


def test_a_proof_of_an_entry_that_is_not_an_audit_entry(tmp_path: Path, run: Run) -> None:
    (tmp_path / "proof").write_text(inclusion_file([b"{}", b"not json"], 1))
    refused(run("proof", tmp_path / "proof"), "entry 1: it is not JSON")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 33])
def test_every_older_log_has_a_consistency_proof(tmp_path: Path, run: Run, size: int) -> None:
    entries = entries_of(size)
    for old in range(size + 1):
        (tmp_path / "proof").write_text(consistency_file(entries, old))
        verdict = run("consistency", tmp_path / "proof", "--witness", WITNESS.vkey)
        assert verdict.code == 0, verdict.lines
        assert verdict.last.startswith(f"verified: {size} entries")


@pytest.mark.parametrize("old", [4, 5, 8, 12])
def test_a_log_that_changed_has_no_consistency_proof(tmp_path: Path, run: Run, old: int) -> None:
    entries = entries_of(12)
    forked = [*entries[:2], entry_at(2, action="write"), *entries[3:]]
    text = consistency_file(entries, old)
    forged = text.replace(checkpoint(entries[:old]), checkpoint(forked[:old]), 1)
    (tmp_path / "proof").write_text(forged)
    refused(run("consistency", tmp_path / "proof"), "does not extend" if old < 12 else "the log was forked")


@pytest.mark.parametrize(
    ("pattern", "replacement", "why"),
    [
        ("consistency/1", "consistency/2", "not a proof"),
        ("1\n", "1\n\n", "the older checkpoint: the signature"),
        ("\n\n", "\n", "not a signed note|hash 0"),
        ("(\u2014.*\n)\n", "\\1", "no newer checkpoint|malformed signature|not a signed note|hash"),
        ("(\u2014.*\n\n)", "\\1\n", "the checkpoint: the signature"),
        ("(\u2014.*\n\n).*\n", "\\1", "too few|not extend"),
        ("(\u2014.*\n\n)(.*\n)", "\\1\\2\\2", "too many|not extend"),
        ("(\u2014.*\n\n)", "\\1AAAA\n", "hash 0 of the proof"),
        ("\n\ncreta(.|\n)*", "\n", "no newer checkpoint"),
        ("\\Z", "more\n", "malformed signature"),
        ("\n\\Z", "", "not a signed note"),
        ("audit\n5\n", "audit\n6\n", "the older checkpoint: the signature"),
        ("audit\n12\n", "audit\n13\n", "the checkpoint: the signature"),
    ],
)
def test_a_changed_consistency_file(
    tmp_path: Path, run: Run, pattern: str, replacement: str, why: str
) -> None:
    text = consistency_file(entries_of(12), 5)
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    (tmp_path / "proof").write_text(changed)
    verdict = run("consistency", tmp_path / "proof")
    refused(verdict)
    assert re.search(why, verdict.last), verdict.last


def test_a_consistency_file_turned_around(tmp_path: Path, run: Run) -> None:
    entries = entries_of(12)
    old, new = checkpoint(entries[:5]), checkpoint(entries)
    text = f"creta.consistency/1\n{new}\n\n{old}"
    (tmp_path / "proof").write_text(text)
    refused(run("consistency", tmp_path / "proof"), "rewound")
