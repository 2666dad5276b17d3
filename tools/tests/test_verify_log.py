"""What an honest log looks like to the verifier, and that no way of changing one goes unnoticed."""

# pyright: strict

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

import creta_verify_log as verifier
from log_builder import (
    LOG,
    ORIGIN,
    OTHER_WITNESS,
    STRANGER,
    WIDTH,
    WITNESS,
    Signer,
    bundle,
    checkpoint,
    checkpoint_text,
    corrupt,
    entries_of,
    entry_at,
    export,
    leaf,
    tree_hash,
    write,
)
from verdict import Run, refused

# Known answers of others

CT_LEAVES = [
    *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
    "606162636465666768696a6b6c6d6e6f",
]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6"
    "RyyBwJnAM=\n"
)


@pytest.mark.parametrize("size", range(9))
def test_roots_of_certificate_transparency(size: int) -> None:
    leaves = [verifier.leaf_hash(bytes.fromhex(data)) for data in CT_LEAVES[:size]]
    assert verifier.root_hash([leaves]).hex() == CT_ROOTS[size] == tree_hash(leaves).hex()


def test_leaves_of_certificate_transparency() -> None:
    assert [verifier.leaf_hash(bytes.fromhex(data)).hex() for data in CT_LEAVES[:4]] == [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7",
        "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7",
    ]


def test_the_note_of_the_go_checksum_database() -> None:
    key = verifier.parse_key(GO_KEY, verifier.NOTE_KEY)
    note = verifier.parse_note((GO_TEXT + "\n" + GO_SIGNATURE).encode(), "the note")
    assert note.text == GO_TEXT
    (signature,) = note.by(key)
    assert verifier.is_signed(key, signature, GO_TEXT.encode())
    assert not verifier.is_signed(key, signature, GO_TEXT.replace("think", "thinK").encode())


@pytest.mark.parametrize("at", range(len(GO_KEY)))
def test_no_part_and_no_misspelling_of_a_key_is_a_key(at: int) -> None:
    misspelled = GO_KEY[:at] + chr(ord(GO_KEY[at]) + 1) + GO_KEY[at + 1 :]
    for text in (misspelled, GO_KEY[:at], GO_KEY[at + 1 :]):
        if text.lower() != GO_KEY.lower() or text[:12] != GO_KEY[:12]:
            with pytest.raises(verifier.UnusableError):
                verifier.parse_key(text, verifier.NOTE_KEY)


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 1234067, 256, "tile/0/x001/x234/067"),
        (5, 0, 1, "tile/5/000.p/1"),
        (verifier.ENTRIES, 1000, 255, "tile/entries/x001/000.p/255"),
    ],
)
def test_paths_of_tiles(level: int, index: int, width: int, path: str) -> None:
    assert verifier.tile_path(level, index, width) == path
    assert verifier.parse_tile_path(path) == (level, index, width)


def test_widths_of_the_example_of_tlog_tiles() -> None:
    assert [verifier.width_at(70_000, 0, index) for index in (272, 273, 274)] == [256, 112, 0]
    assert [verifier.width_at(70_000, 1, index) for index in (0, 1, 2)] == [256, 17, 0]
    assert [verifier.width_at(70_000, 2, 0), verifier.width_at(70_000, 3, 0)] == [1, 0]
    assert [verifier.width_at(256, 0, 0), verifier.width_at(256, 1, 0)] == [256, 1]


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/x000/000",
        "tile/64/000",
        "tile/00/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/00",
        "tile",
    ],
)
def test_paths_that_are_no_tile(path: str) -> None:
    assert verifier.parse_tile_path(path) is None


# Honest logs


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000])
def test_an_honest_log_verifies(tmp_path: Path, run: Run, size: int) -> None:
    entries = entries_of(size)
    verdict = run("log", export(tmp_path, entries))
    root = base64.b64encode(tree_hash([leaf(entry) for entry in entries])).decode()
    assert (verdict.code, verdict.last) == (0, f"verified: {size} entries, root {root}")


def test_a_log_with_two_full_levels_verifies(tmp_path: Path, run: Run) -> None:
    """65,536 + 256 + 1 entries: a full tile of level 1, and levels 0, 1 and 2 unfinished."""
    entries = [entry_at(0)] * (WIDTH * WIDTH + WIDTH + 1)
    older = tmp_path / "older"
    older.write_text(checkpoint(entries[: WIDTH * WIDTH]))
    folder = export(tmp_path / "log", entries)
    assert (folder / "tile/2/000.p/1").exists()
    assert run("log", folder, "--since", older).code == 0
    corrupt(folder / "tile/1/000", -1)
    refused(run("log", folder), "`tile/1/000` differs")


def test_unknown_signature_lines_and_old_partial_tiles_are_fine(tmp_path: Path, run: Run) -> None:
    entries = entries_of(300)
    text = checkpoint_text([leaf(entry) for entry in entries])
    # The name under another key, the key ID under another name, an unknown algorithm's long signature.
    colliding = f"\u2014 someone {base64.b64encode(LOG.key_id + bytes(64)).decode()}\n"
    unknown = STRANGER.sign(text) + colliding + Signer("x", 5, kind=6).line(bytes(2428))
    folder = export(tmp_path, entries, text + "\n" + unknown + LOG.sign(text))
    for older in (44, 10, 290):
        export(folder, entries[:older], only="tile")
    verdict = run("log", folder)
    assert verdict.code == 0, verdict.lines


@pytest.mark.parametrize("old", [0, 1, 255, 256, 257, 300, 512, 700])
def test_a_log_extends_its_older_checkpoints(tmp_path: Path, run: Run, old: int) -> None:
    entries = entries_of(700)
    older = tmp_path / "older"
    older.write_text(checkpoint(entries[:old]))
    verdict = run("log", export(tmp_path / "log", entries), "--since", older)
    assert verdict.code == 0, verdict.lines
    assert f"older checkpoint: its {old} entries are the first of this log" in verdict.lines


def test_each_witness_given_cosigned(tmp_path: Path, run: Run) -> None:
    folder = export(tmp_path, entries_of(3), checkpoint(entries_of(3), witnesses=[WITNESS, OTHER_WITNESS]))
    verdict = run("log", folder, "--witness", WITNESS.vkey, "--witness", OTHER_WITNESS.vkey)
    assert verdict.code == 0
    assert f"witness: {WITNESS.name}+{WITNESS.key_id.hex()} cosigned at 2025-10-09T08:53:20Z" in verdict.lines


def test_an_old_cosignature_is_refused_by_its_time(tmp_path: Path, run: Run) -> None:
    """2025-10-09T08:53:20Z is when the builder's witnesses cosign."""
    folder = export(tmp_path, entries_of(3), checkpoint(entries_of(3), witnesses=[WITNESS, OTHER_WITNESS]))
    both = ("--witness", WITNESS.vkey, "--witness", OTHER_WITNESS.vkey, "--witnessed-after")
    assert run("log", folder, *both, "2025-10-09T08:53:20Z").code == 0
    verdict = run("log", folder, *both, "2025-10-09T08:53:21Z")
    refused(verdict, "cosigned at 2025-10-09T08:53:20Z, which is before 2025-10-09T08:53:21Z")
    assert run("log", folder, *both, "yesterday").code == 2
    assert run("log", folder, "--witnessed-after", "2025-10-09T08:53:20Z").code == 2


def test_the_verdict_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = export(tmp_path, entries_of(3))
    assert verifier.main(["log", str(folder), "--key", LOG.vkey, "--json"]) == 0
    good = json.loads(capsys.readouterr().out)
    assert (good["verified"], good["reason"], good["entries"]) == (True, None, 3)
    assert base64.b64decode(good["root"]) == tree_hash([leaf(entry) for entry in entries_of(3)])
    shutil.rmtree(folder / "tile")
    assert verifier.main(["log", str(folder), "--key", LOG.vkey, "--json"]) == 1
    bad = json.loads(capsys.readouterr().out)
    assert (bad["verified"], "root" in bad) == (False, False)
    assert "`tile/entries/000.p/3` is missing" in bad["reason"]


# Manipulations


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """600 honest entries, cosigned by one witness."""
    entries = entries_of(600)
    return export(tmp_path / "log", entries, checkpoint(entries, witnesses=[WITNESS]))


def edited() -> list[bytes]:
    entries = entries_of(600)
    entries[300] = entry_at(300, tenant="someone else")
    return entries


def test_an_edited_entry(log: Path, run: Run) -> None:
    export(log, edited(), only="tile/entries")
    refused(run("log", log), "`tile/0/001` differs", "first at entry 300", "the root differs")


def test_an_edited_entry_with_its_tiles(log: Path, run: Run) -> None:
    export(log, edited(), only="tile")
    verdict = run("log", log)
    refused(verdict, "the root differs")
    assert not any("tile/" in line for line in verdict.lines)


def test_an_edited_entry_with_its_tiles_and_a_new_signature(log: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "older").write_text(checkpoint(entries_of(500)))
    export(log, edited())
    assert run("log", log).code == 0  # By itself it is a log; only memory of the old one tells.
    refused(run("log", log, "--since", tmp_path / "older"), "history was changed: its first 500")
    refused(run("log", log, "--witness", WITNESS.vkey), "not cosigned")
    (tmp_path / "older").write_text(checkpoint(entries_of(300)))
    assert run("log", log, "--since", tmp_path / "older").code == 0  # Entry 300 is the first that changed.


def test_the_newest_entries_deleted(log: Path, run: Run) -> None:
    shutil.rmtree(log / "tile")
    export(log, entries_of(599), only="tile")
    refused(run("log", log), "`tile/entries/002.p/88` is missing, with the entries 512 to 599")


def test_a_day_dropped(log: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "older").write_text((log / "checkpoint").read_text())
    entries = entries_of(600)
    del entries[200:300]
    shutil.rmtree(log / "tile")
    export(log, entries, only="tile")
    refused(run("log", log), "is missing")
    export(log, entries + [entry_at(600 + number) for number in range(200)])
    assert run("log", log).code == 0
    refused(run("log", log, "--since", tmp_path / "older"), "history was changed")


def test_a_fork(log: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "older").write_text((log / "checkpoint").read_text())
    export(log, [*entries_of(599), entry_at(599, action="write")])
    refused(run("log", log, "--since", tmp_path / "older"), "history was changed")


def test_a_rewound_log(log: Path, tmp_path: Path, run: Run) -> None:
    (tmp_path / "older").write_text((log / "checkpoint").read_text())
    shutil.rmtree(log)
    export(log, entries_of(400))
    assert run("log", log).code == 0
    refused(run("log", log, "--since", tmp_path / "older"), "the log was rewound, from 600 entries to 400")
    refused(run("log", log, "--witness", WITNESS.vkey), "not cosigned")


def test_a_replaced_key(log: Path, run: Run) -> None:
    entries = edited()
    export(log, entries, checkpoint(entries, STRANGER))
    write(log, "verifier-key", f"{STRANGER.vkey}\n".encode())
    refused(run("log", log), "not signed by the key given")
    assert run("log", log, key=STRANGER.vkey).code == 0


def test_a_replaced_convenience_key(log: Path, run: Run) -> None:
    write(log, "verifier-key", f"{STRANGER.vkey}\n".encode())
    refused(run("log", log), "`verifier-key` in the folder is not the key given")


def test_swapped_entries(log: Path, run: Run) -> None:
    entries = entries_of(600)
    entries[5], entries[6] = entries[6], entries[5]
    export(log, entries, only="tile/entries")
    refused(run("log", log), "first at entry 5", "clock set back at entry 6", "the root differs")


def test_a_truncated_bundle(log: Path, run: Run) -> None:
    file = log / "tile/entries/001"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    refused(run("log", log), "`tile/entries/001` is cut short: it holds 255 of 256 entries")
    file.write_bytes(bundle(entries_of(512)[256:510]) + b"\x00")
    refused(run("log", log), "it holds 254 of 256 entries")


def test_extra_bytes_in_a_bundle(log: Path, run: Run) -> None:
    file = log / "tile/entries/000"
    file.write_bytes(file.read_bytes() + bundle([entry_at(0)]))
    refused(run("log", log), "`tile/entries/000` goes on after its 256 entries")


def test_extra_entries(log: Path, run: Run) -> None:
    export(log, entries_of(700), only="tile")
    refused(
        run("log", log),
        "`tile/entries/002.p/188` holds entries beyond the checkpoint's 600 entries",
        "`tile/0/002.p/188` holds hashes beyond",
    )


@pytest.mark.parametrize(
    "path", ["tile/entries/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/0/000", "checkpoint"]
)
def test_a_missing_file(log: Path, run: Run, path: str) -> None:
    (log / path).unlink()
    refused(run("log", log), f"`{path}` is missing")


def test_a_missing_verifier_key_is_said(log: Path, run: Run) -> None:
    (log / "verifier-key").unlink()
    assert "verifier-key: none in the folder" in run("log", log).lines


def test_a_wrong_old_partial_tile(log: Path, run: Run) -> None:
    export(log, entries_of(520), only="tile")
    assert run("log", log).code == 0
    for path in ("tile/entries/002.p/8", "tile/0/002.p/8"):
        corrupt(log / path, 30)
        refused(run("log", log), f"`{path}` differs")
        corrupt(log / path, 30)


def test_files_that_do_not_belong(log: Path, run: Run) -> None:
    write(log, "README", b"hello")
    verdict = run("log", log)
    assert verdict.code == 0
    assert "not checked, no part of a log: 'README'" in verdict.lines
    write(log, "tile/0/x000/000", b"hello")
    refused(run("log", log), "'tile/0/x000/000' is not the path of a tile")


def test_a_wrong_cosignature(log: Path, run: Run) -> None:
    text = checkpoint_text([leaf(entry) for entry in entries_of(600)])
    good = WITNESS.cosign(text)
    signed = text + "\n" + LOG.sign(text)
    wrong_time = base64.b64decode(good.split(" ")[2])
    for line, why in [
        (WITNESS.cosign(text.replace("600", "601")), "the cosignature of the witness"),
        (WITNESS.line(wrong_time[4:11] + b"\x01" + wrong_time[12:]), "the cosignature of the witness"),
        (WITNESS.line(wrong_time[4:-1]), "the cosignature of the witness"),
        (good + WITNESS.cosign("other\n"), "the cosignature of the witness"),
        (WITNESS.cosign(text, 1 << 63), "the cosignature of the witness"),
        (WITNESS.sign(text), "the cosignature of the witness"),
        (OTHER_WITNESS.cosign(text), "not cosigned by the witness"),
        (Signer(WITNESS.name, 3, kind=4).cosign(text), "not cosigned by the witness"),
    ]:
        write(log, "checkpoint", (signed + line).encode())
        refused(run("log", log, "--witness", WITNESS.vkey), why)
        assert run("log", log).code == 0


def test_a_wrong_signature_of_the_log(log: Path, run: Run) -> None:
    text = checkpoint_text([leaf(entry) for entry in entries_of(600)])
    wrong = LOG.sign("other\n")
    for signatures in (wrong, LOG.sign(text) + wrong, LOG.line(bytes(63)), WITNESS.cosign(text)):
        write(log, "checkpoint", (text + "\n" + signatures).encode())
        refused(run("log", log))


@pytest.mark.parametrize(
    "note",
    [
        "",
        "text\n",
        "text\n\n",
        "{text}\n{line}",
        "{text}\n{line}trailing",
        "{text}\n{line}\n",
        "{text}\n-- someone AAAAAAAA\n{line}",
        "{text}\n\u2014 some one AAAAAAAA\n{line}",
        "{text}\n\u2014 some+one AAAAAAAA\n{line}",
        "{text}\n\u2014 some\u00a0one AAAAAAAA\n{line}",
        "{text}\n\u2014  AAAAAAAA\n{line}",
        "{text}\n\u2014 someone AAAA\n{line}",
        "{text}\n\u2014 someone AAAAAAB=\n{line}",
        "{text}\r\n\n{line}",
    ],
)
def test_only_a_well_formed_note_counts(log: Path, run: Run, note: str) -> None:
    text = checkpoint_text([leaf(entry) for entry in entries_of(600)])
    write(log, "checkpoint", note.format(text=text, line=LOG.sign(text)).encode())
    assert (run("log", log).code == 0) == (note == "{text}\n{line}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{origin}\n{size}\n", "not a checkpoint"),
        ("{origin}\n0{size}\n{root}\n", "the size"),
        ("{origin}\n+{size}\n{root}\n", "the size"),
        ("{origin}\n9223372036854775808\n{root}\n", "the size"),
        ("{origin}\n{size}\n{root}A\n", "the root hash"),
        ("{origin}\n{size}\nAAAA\n", "the root hash"),
        ("creta/staging/audit\n{size}\n{root}\n", "is of the log `creta/staging/audit`"),
        ("{origin}\n{size}\n\n{root}\n", "not a checkpoint"),
        ("{origin}\n{size}\n{root}\nextension\n", ""),
    ],
)
def test_only_a_well_formed_checkpoint_counts(log: Path, run: Run, text: str, why: str) -> None:
    root = base64.b64encode(tree_hash([leaf(entry) for entry in entries_of(600)])).decode()
    filled = text.format(origin=ORIGIN, size=600, root=root)
    write(log, "checkpoint", (filled + "\n" + LOG.sign(filled)).encode())
    verdict = run("log", log)
    if why:
        refused(verdict, why)
    else:
        assert verdict.code == 0, verdict.lines


# Entries


def test_a_clock_set_back(tmp_path: Path, run: Run) -> None:
    entries = [*entries_of(10), entry_at(4), entry_at(5), entry_at(11)]
    folder = export(tmp_path, entries)
    # Each entry is compared with the one before it, so entry 11 is not a second step.
    step = "clock set back at entry 10: 2025-03-01T00:00:04Z follows 2025-03-01T00:00:09Z"
    assert run("log", folder).lines[-1] == f"NOT verified: {step}"
    refused(run("log", folder, "--accept-set-back", "9"), step)
    verdict = run("log", folder, "--accept-set-back", "10")
    assert verdict.code == 0
    assert f"{step}, as accepted" in verdict.lines


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2025-03-01T12:00:00Z", "2025-03-01T12:00:00.000001Z"),
        ("2025-03-01T12:00:00.500000Z", "2025-03-01T12:00:00.510000Z"),
        ("2025-03-01T12:00:00.999999Z", "2025-03-01T12:00:01Z"),
        ("2025-03-01T12:00:00.090000Z", "2025-03-01T12:00:00.100000Z"),
        ("2025-03-01T12:00:10Z", "2025-03-01T12:00:10.100000Z"),
    ],
)
def test_times_order_whatever_their_fraction(earlier: str, later: str) -> None:
    first, second = (verifier.check_entry(entry_at(0, time=time)) for time in (earlier, later))
    assert first < second


@pytest.mark.parametrize(
    "time",
    [
        *("2025-03-01", "2025-02-29T00:00:00Z", "2025-03-01T24:00:00Z", "2025-03-01T00:00:00+00:00", "", 5),
        *("2025-03-01 00:00:00Z", "2025-03-01T00:60:00Z", "2025-03-01T00:00:60Z", "2025-03-01T00:00:00.Z"),
        *("2025-03-01T00:00:00.5Z", "2025-03-01T00:00:00.000000Z", "2016-12-31T23:59:60Z"),
        *("\u0662\u0660\u0662\u0665-03-01T00:00:00Z", "2025-03-01T00:00:00Z\n", "2025-03-01t00:00:00z"),
    ],
)
def test_no_other_time_counts(time: object) -> None:
    with pytest.raises(verifier.EntryError):
        verifier.check_entry(entry_at(0, time=time))


CANONICAL = entry_at(0).decode()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (CANONICAL.replace(":", ": ", 1), "canonical"),
        (CANONICAL + "\n", "canonical"),
        (CANONICAL.replace('"read"', '"r\\u0065ad"'), "canonical"),
        (CANONICAL.replace('"read"', '"r\\/ead"'), "canonical"),
        (CANONICAL.replace('"read"', '"\\u00e9"'), "canonical"),
        (CANONICAL.replace('"read"', '"\\u001F"'), "canonical"),
        (CANONICAL.replace('"read"', '"\\u000a"'), "canonical"),
        (CANONICAL.replace('"count":0', '"count":-0'), "canonical"),
        (CANONICAL.replace('{"action":"read",', '{"action":"write","action":"read",'), "canonical"),
        ("{" + ",".join(reversed(CANONICAL[1:-1].split(","))) + "}", "canonical"),
        (CANONICAL.replace('"count":0', '"count":0.5'), "not an integer"),
        (CANONICAL.replace('"count":0', '"count":1e3'), "not an integer"),
        (CANONICAL.replace('"count":0', '"count":NaN'), "not an integer"),
        (CANONICAL.replace('"count":0', '"count":9007199254740992'), "beyond 2^53"),
        (CANONICAL.replace('"count":0', '"count":' + "9" * 5000), "JSON"),
        (CANONICAL.replace('"count":0', '"count":[9007199254740992]'), "beyond 2^53"),
        (CANONICAL.replace("creta.audit/1", "creta.audit/2"), "version"),
        (CANONICAL.replace('"environment":"prod",', ""), "environment"),
        (CANONICAL.replace('"read"', "1"), "action"),
        (CANONICAL.replace('"environment"', '"details":{"a":1},"environment"'), "details"),
        (CANONICAL.replace('"read"', '"\\ud800"'), "JSON"),
        ("[" * 30000 + "]" * 30000, "JSON"),
        ('"creta.audit/1"', "object"),
        (CANONICAL[:-1], "JSON"),
        ("", "JSON"),
        ("\ufeff" + CANONICAL, "JSON"),
    ],
)
def test_entries_that_are_not_what_the_log_says(tmp_path: Path, run: Run, entry: str, why: str) -> None:
    assert run("log", export(tmp_path / "good", [CANONICAL.encode()] * 2)).code == 0
    folder = export(tmp_path / "bad", [CANONICAL.encode(), entry.encode()])
    refused(run("log", folder), "entry 1: ", why)


def test_fields_that_are_not_known_may_hold_what_json_can(tmp_path: Path, run: Run) -> None:
    entry = entry_at(0, later={"done": True, "left": None, "parts": [False, 1]})
    assert run("log", export(tmp_path, [entry])).code == 0


def test_an_entry_that_is_not_utf_8(tmp_path: Path, run: Run) -> None:
    entry = CANONICAL.encode().replace(b"read", b"r\xff")
    refused(run("log", export(tmp_path, [entry])), "entry 0: it is not JSON")


def test_text_stands_as_itself_and_keys_sort_by_utf_16() -> None:
    """RFC 8785 §3.2.3: the emoji's first unit is U+D83D, so it sorts before U+FB33."""
    head, tail = CANONICAL.split('"environment"')
    details = '"details":{"\\u000f\\n":"\\\\\\"/\x7f","\u20ac":"é","\U0001f600":"","\ufb33":""},'
    verifier.check_entry((head + details + '"environment"' + tail).encode())
    swapped = details.replace('"\U0001f600":"","\ufb33":""', '"\ufb33":"","\U0001f600":""')
    with pytest.raises(verifier.EntryError, match="canonical"):
        verifier.check_entry((head + swapped + '"environment"' + tail).encode())


def test_nothing_to_check_is_not_a_verdict_about_the_log(tmp_path: Path, log: Path, run: Run) -> None:
    for arguments in (
        ("log", tmp_path / "nowhere"),
        ("log", log, "--since", tmp_path / "nowhere"),
        ("log", log, "--witness", LOG.vkey),
        ("proof", tmp_path / "nowhere"),
        ("consistency", tmp_path),
    ):
        assert run(*arguments).code == 2
    assert run("log", log, key=WITNESS.vkey).code == 2
    assert run("log", log, key="\udcff+00000000+AAAA").code == 2
    with pytest.raises(SystemExit, match="2"):
        verifier.main(["log", str(log)])
