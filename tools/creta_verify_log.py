#!/usr/bin/env python3
"""Verifies an exported audit log, a proof that it holds an entry, or a proof that it only grew.

    creta_verify_log.py log DIR --key VKEY [--since FILE] [--accept-set-back INDEX ...]
    creta_verify_log.py proof FILE --key VKEY [--entry FILE]
    creta_verify_log.py consistency FILE --key VKEY

each with `--witness VKEY` for every witness that must have cosigned, and `--witnessed-after TIME`.

The last line says `verified: N entries, root BASE64` or `NOT verified: REASON`. The exit code is 0 when
verified, 1 when not, and 2 when there was nothing to check (wrong arguments, a malformed key, a path that
cannot be read).

Written from public specifications and none of the log's own code: C2SP signed-note, tlog-checkpoint,
tlog-tiles, tlog-cosignature and tlog-proof, RFC 6962 and RFC 9162 (hashes and proofs), RFC 8785 (canonical
JSON), RFC 3339 (times). Needs Python 3.11 and the package `cryptography`. Reads one bundle of entries at a
time: memory does not grow with the log.

It is one file on purpose, longer than we otherwise let files grow: an auditor copies it, reads it from top to
bottom and runs it.
"""

# pyright: strict

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import io
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import NoReturn, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ENTRY_VERSION = "creta.audit/1"
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
CONSISTENCY_HEADER = "creta.consistency/1"
TILE_WIDTH = 256
HASH_BYTES = 32
SIGNATURE_BYTES = 64
NOTE_BYTES_MAX = 1 << 20
# Two notes and their hashes; a proof of one entry, which it may carry in base64, is shorter.
PROOF_BYTES_MAX = 4 << 20
ENTRY_BYTES_MAX = 0xFFFF
BUNDLE_BYTES_MAX = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)
SIZE_MAX = (1 << 63) - 1
INTEGER_MAX = (1 << 53) - 1  # Beyond this RFC 8785 numbers are no longer exact.
PROBLEMS_SHOWN_MAX = 20
EMPTY_ROOT = hashlib.sha256(b"").digest()


class NotVerifiedError(Exception):
    """What was given is readable but proves nothing; the message is the reason."""


class UnusableError(Exception):
    """There is nothing to check: an argument is malformed or a path cannot be read."""


@dataclass
class Report:
    """What was found, in the order it was found. `entries` and `root` are those of the newest checkpoint."""

    lines: list[str] = field(default_factory=list[str])
    problems: list[str] = field(default_factory=list[str])
    problem_count: int = 0
    entries: int = 0
    root: bytes = EMPTY_ROOT

    def say(self, line: str) -> None:
        self.lines.append(line)

    def problem(self, problem: str) -> None:
        """Counts every problem, keeps the first ones: a log can be wrong in a million places."""
        self.problem_count += 1
        if len(self.problems) < PROBLEMS_SHOWN_MAX:
            self.problems.append(problem)

    def reason(self) -> str | None:
        """The first problem and how many follow, or None when there is none."""
        if not self.problem_count:
            return None
        more = self.problem_count - 1
        return self.problems[0] + (f" (and {more} more)" if more else "")


# Bytes and text


def read_file(path: Path, bytes_max: int) -> bytes | None:
    """The file's bytes, or None when it is no regular file. Longer than `bytes_max` is `NotVerifiedError`."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        with path.open("rb") as file:
            data = file.read(bytes_max + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UnusableError(f"cannot read `{path}`: {error.strerror}") from error
    if len(data) > bytes_max:
        raise NotVerifiedError(f"`{path.name}` is longer than the {bytes_max} bytes it can hold")
    return data


def read_given_file(path: Path, bytes_max: int) -> bytes:
    """A file that the caller named, so its absence is a mistake in the call."""
    data = read_file(path, bytes_max)
    if data is None:
        raise UnusableError(f"`{path}` is not a file")
    return data


def decode_base64(text: str) -> bytes | None:
    """Standard base64 in its one canonical form (RFC 4648 §3.5, §4): no two texts mean the same."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


def decode_hash(text: str, what: str) -> bytes:
    data = decode_base64(text)
    if data is None or len(data) != HASH_BYTES:
        raise NotVerifiedError(f"{what} is not the base64 of {HASH_BYTES} bytes")
    return data


def decode_decimal(text: str, what: str) -> int:
    """ASCII decimal without leading zeroes, at most 2^63 - 1."""
    if re.fullmatch(r"0|[1-9][0-9]{0,18}", text) is None or int(text) > SIZE_MAX:
        raise NotVerifiedError(f"{what} is not a decimal number without leading zeroes")
    return int(text)


def decode_text(data: bytes, what: str) -> str:
    """UTF-8 with no control character but the newline, as signed-note asks."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotVerifiedError(f"{what} is not UTF-8") from error
    if re.search(r"[\x00-\x09\x0b-\x1f]", text):
        raise NotVerifiedError(f"{what} has a control character")
    return text


# Keys and signed notes


@dataclass(frozen=True)
class VerifierKey:
    """A public key with the name it signs under. `kind` 1 signs notes, `kind` 4 cosigns checkpoints."""

    name: str
    key_id: bytes
    kind: int
    public: Ed25519PublicKey
    text: str

    @property
    def label(self) -> str:
        return f"{self.name}+{self.key_id.hex()}"


NOTE_KEY = 0x01
COSIGNATURE_KEY = 0x04


def is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(character.isspace() for character in name)


def parse_key(text: str, kind: int) -> VerifierKey:
    """Reads `NAME+KEYID+BASE64(kind || public key)`; anything else is `UnusableError`: the caller gave it."""
    parts = text.split("+", 2)  # The base64 may hold further plus signs.
    if len(parts) != 3:
        raise UnusableError("a key is `NAME+KEYID+BASE64`, three parts joined by `+`")
    name, key_id, material = parts
    decoded = decode_base64(material)
    # Arguments that are not UTF-8 arrive with lone surrogates, which no name can hold.
    if not is_key_name(name) or any("\ud800" <= character <= "\udfff" for character in name):
        raise UnusableError("the name of a key is UTF-8 without spaces")
    if re.fullmatch(r"[0-9a-fA-F]{8}", key_id) is None or decoded is None:
        raise UnusableError(f"`{text}` is not a key: the key ID is 8 hexadecimal digits, the rest base64")
    if len(decoded) != 1 + HASH_BYTES or decoded[0] != kind:
        use = "cosigns (type 4)" if kind == COSIGNATURE_KEY else "signs the log (type 1)"
        raise UnusableError(f"`{name}` is not an Ed25519 key that {use}")
    # Key ID: first four bytes of SHA-256(name || 0x0A || type || public key), signed-note "Signatures".
    expected = hashlib.sha256(name.encode() + b"\n" + decoded).digest()[:4]
    if expected != bytes.fromhex(key_id):
        raise UnusableError(f"`{name}`: the key ID {key_id} is not this key's, which is {expected.hex()}")
    return VerifierKey(name, expected, kind, Ed25519PublicKey.from_public_bytes(decoded[1:]), text)


@dataclass(frozen=True)
class Note:
    """A note taken apart, its signatures not verified yet: (key name, key ID, what follows the key ID)."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    def by(self, key: VerifierKey) -> list[bytes]:
        """The signatures that claim this key. Others are ignored, even under the same name or the same ID."""
        return [rest for name, key_id, rest in self.signatures if name == key.name and key_id == key.key_id]


def parse_note(data: bytes, what: str) -> Note:
    text = decode_text(data, what)
    # The last empty line separates text from signatures, so the text may hold empty lines.
    end = text.rfind("\n\n")
    if end < 0 or not text.endswith("\n") or end + 2 == len(text):
        raise NotVerifiedError(f"{what} is not a signed note: a text, an empty line and signature lines")
    signatures: list[tuple[str, bytes, bytes]] = []
    for line in text[end + 2 : -1].split("\n"):
        # An em dash, the key name and base64, one space between them.
        dash, name, encoded = line.split(" ") if line.count(" ") == 2 else ("", "", "")
        blob = decode_base64(encoded)
        if dash != "\u2014" or not is_key_name(name) or blob is None or len(blob) < 5:
            raise NotVerifiedError(f"{what} has a malformed signature line")
        signatures.append((name, blob[:4], blob[4:]))
    return Note(text[: end + 1], tuple(signatures))


def is_signed(key: VerifierKey, signature: bytes, message: bytes) -> bool:
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        key.public.verify(signature, message)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True)
class Checkpoint:
    """How large the log was and what it held, said by the log's own key."""

    note: Note
    origin: str
    size: int
    root: bytes


def open_checkpoint(data: bytes, key: VerifierKey, what: str) -> Checkpoint:
    """Reads a checkpoint that `key` signed. Nothing in it is looked at before its signature is verified."""
    if len(data) > NOTE_BYTES_MAX:
        raise NotVerifiedError(f"{what} is longer than {NOTE_BYTES_MAX} bytes")
    note = parse_note(data, what)
    signatures = note.by(key)
    if not signatures:
        raise NotVerifiedError(f"{what} is not signed by the key given, `{key.label}`")
    if not all(is_signed(key, signature, note.text.encode()) for signature in signatures):
        raise NotVerifiedError(f"{what}: the signature of `{key.name}` is wrong")
    lines = note.text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise NotVerifiedError(f"{what} is not a checkpoint: it needs an origin, a size and a root hash")
    size = decode_decimal(lines[1], f"{what}: the size")
    root = decode_hash(lines[2], f"{what}: the root hash")
    # A key names one log: otherwise a checkpoint of another log under the same key would pass for this one.
    if lines[0] != key.name:
        raise NotVerifiedError(f"{what} is of the log `{lines[0]}`, and the key given is for `{key.name}`")
    return Checkpoint(note, lines[0], size, root)


@dataclass(frozen=True)
class Witnesses:
    """Who must have cosigned, and not before when, in seconds since 1970."""

    keys: tuple[VerifierKey, ...] = ()
    after: int | None = None


def show_second(second: int) -> str:
    try:
        return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # Past the year 9999.
        return f"second {second}"


def check_cosignature(checkpoint: Checkpoint, witness: VerifierKey, after: int | None) -> str:
    """The newest time at which the witness says it saw this checkpoint as the log's latest.

    A cosignature stays true for ever, so an old copy of a log still carries one: only its time tells.
    """
    signatures = checkpoint.note.by(witness)
    if not signatures:
        raise NotVerifiedError(f"the checkpoint is not cosigned by the witness `{witness.label}`")
    newest = 0
    for blob in signatures:
        # timestamped_signature: u64 seconds, then the signature (tlog-cosignature "Format").
        seconds = int.from_bytes(blob[:8], "big")
        message = f"cosignature/v1\ntime {seconds}\n{checkpoint.note.text}".encode()
        if seconds > SIZE_MAX or not is_signed(witness, blob[8:], message):
            raise NotVerifiedError(f"the cosignature of the witness `{witness.name}` is wrong")
        newest = max(newest, seconds)
    if after is not None and newest < after:
        at, asked = show_second(newest), show_second(after)
        raise NotVerifiedError(f"the witness `{witness.name}` cosigned at {at}, which is before {asked}")
    return show_second(newest)


# Hashes and proofs


def leaf_hash(entry: bytes) -> bytes:
    # Leaf prefix 0x00, node prefix 0x01: RFC 6962 §2.1.
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtree_hash(hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash over at least one hash.

    Pairing neighbors and lifting a lone last one gives the same tree as RFC 6962's split at the largest
    power of two. Only the last of `hashes` may stand for a smaller subtree than the others.
    """
    row = list(hashes)
    sha256 = hashlib.sha256
    while len(row) > 1:
        above = [sha256(b"\x01" + row[at] + row[at + 1]).digest() for at in range(0, len(row) - 1, 2)]
        if len(row) % 2:
            above.append(row[-1])
        row = above
    return row[0]


def root_hash(levels: Sequence[Sequence[bytes]]) -> bytes:
    """The root of a tree whose unfinished tiles are `levels`, lowest first (SHA-256 of nothing if none)."""
    rest: list[bytes] = []
    for hashes in levels:
        row = [*hashes, *rest]
        rest = [subtree_hash(row)] if row else []
    return rest[0] if rest else EMPTY_ROOT


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes:
    """The root that `proof` leads to from the leaf at `index` in a tree of `size` (RFC 9162 §2.1.3.2)."""
    if index >= size:
        raise NotVerifiedError(f"entry {index} is not in a log of {size} entries")
    position, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise NotVerifiedError("the proof has too many hashes")
        if position & 1 or position == last:
            result = node_hash(sibling, result)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise NotVerifiedError("the proof has too few hashes")
    return result


def check_consistency(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Proves that the first `old.size` entries of the new tree are the old tree (RFC 9162 §2.1.4.2)."""
    check_not_rewound(old, new)
    if old.size in (0, new.size):
        # The RFC leaves both cases out: the same tree needs no proof, and everything extends the empty tree.
        if old.root != (new.root if old.size else EMPTY_ROOT):
            raise NotVerifiedError(f"the log was forked: two checkpoints of {old.size} entries differ")
        if proof:
            raise NotVerifiedError("the proof has too many hashes")
        return
    path = list(proof)
    if old.size & (old.size - 1) == 0:
        path.insert(0, old.root)
    if not path:
        raise NotVerifiedError("the proof has too few hashes")
    position, last = old.size - 1, new.size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_root = new_root = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise NotVerifiedError("the proof has too many hashes")
        if position & 1 or position == last:
            old_root = node_hash(sibling, old_root)
            new_root = node_hash(sibling, new_root)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            new_root = node_hash(new_root, sibling)
        position >>= 1
        last >>= 1
    if last:
        raise NotVerifiedError("the proof has too few hashes")
    if old_root != old.root or new_root != new.root:
        raise NotVerifiedError(f"the log of {new.size} entries does not extend the older one of {old.size}")


def check_not_rewound(old: Checkpoint, new: Checkpoint) -> None:
    if old.size > new.size:
        raise NotVerifiedError(f"the log was rewound, from {old.size} entries to {new.size}")


# Entries

# Each instant has one spelling: whole seconds, or six digits of which not all are zero.
TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.(?!0{6})[0-9]{6})?Z"
)


class EntryError(Exception):
    """An entry is in the log but is not what the log says it holds."""


def refuse_fraction(_text: str) -> NoReturn:
    raise EntryError("it holds a number that is not an integer")


DECODER = json.JSONDecoder(parse_float=refuse_fraction, parse_constant=refuse_fraction)
# Python escapes exactly what RFC 8785 §3.2.2.2 escapes: the quote, the backslash and what is below U+0020.
PLAIN_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False)
SORTING_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False, sort_keys=True
)


def sorted_by_utf16(value: object) -> object:
    """The same value, keys in the order of RFC 8785 §3.2.3, which compares UTF-16 units."""
    if isinstance(value, dict):
        members = cast("dict[str, object]", value)
        order = sorted(members, key=lambda key: key.encode("utf-16-be"))
        return {key: sorted_by_utf16(members[key]) for key in order}
    if isinstance(value, list):
        return [sorted_by_utf16(item) for item in cast("list[object]", value)]
    return value


def check_values(value: object) -> None:
    """Integers that RFC 8785 can hold, at any depth. Fields that are not known may hold anything else."""
    kind = type(value)
    if kind is dict:
        for item in cast("dict[str, object]", value).values():
            if type(item) is not str:
                check_values(item)
    elif kind is list:
        for item in cast("list[object]", value):
            check_values(item)
    elif kind is int and abs(cast("int", value)) > INTEGER_MAX:
        raise EntryError("it holds an integer beyond 2^53 - 1")


def parse_entry(entry: bytes) -> dict[str, object]:
    """The entry's members, when its bytes are the one canonical form (RFC 8785) of what they say."""
    try:
        value: object = DECODER.decode(entry.decode("utf-8"))
        if entry.isascii():
            # Keys of ASCII sort alike by character and by UTF-16 unit.
            canonical = SORTING_ENCODER.encode(value).encode("utf-8")
        else:
            canonical = PLAIN_ENCODER.encode(sorted_by_utf16(value)).encode("utf-8")
        if canonical != entry:
            raise EntryError("it is not canonical JSON")
        if not isinstance(value, dict):
            raise EntryError("it is not a JSON object")
        check_values(cast("object", value))
    except (ValueError, RecursionError) as error:
        raise EntryError("it is not JSON") from error
    return cast("dict[str, object]", value)


@lru_cache(maxsize=64)
def is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def check_entry(entry: bytes) -> str:
    """Checks one entry and returns its time in a form whose order as text is the order in time."""
    members = parse_entry(entry)
    if members.get("version") != ENTRY_VERSION:
        raise EntryError(f"its version is not `{ENTRY_VERSION}`")
    time, environment, action = members.get("time"), members.get("environment"), members.get("action")
    if not isinstance(time, str) or not isinstance(environment, str) or not isinstance(action, str):
        raise EntryError("it needs `time`, `environment` and `action` as text")
    details = members.get("details", {})
    if not isinstance(details, dict) or not all(
        isinstance(text, str) for text in cast("dict[str, object]", details).values()
    ):
        raise EntryError("its `details` are not a map of text to text")
    match = TIME.fullmatch(time)
    if match is None or not is_date(match[1]):
        raise EntryError("its time is not an instant in the form `2026-03-01T12:00:00Z`")
    return time[:-1]  # As text `12:00:00.5Z` sorts before `12:00:00Z`; without the `Z` it sorts after.


def split_bundle(data: bytes, width: int, path: str) -> Iterator[tuple[int, bytes]]:
    """The entries of a bundle, each with the position after it: a u16 length, then the bytes (tlog-tiles)."""
    at = 0
    for count in range(width):
        end = at + 2 + ((data[at] << 8 | data[at + 1]) if at + 2 <= len(data) else ENTRY_BYTES_MAX)
        if end > len(data):
            raise NotVerifiedError(f"`{path}` is cut short: it holds {count} of {width} entries")
        yield end, data[at + 2 : end]
        at = end
    if at != len(data):
        raise NotVerifiedError(f"`{path}` goes on after its {width} entries")


# Tiles

TILE_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
ENTRIES = -1  # Stands where a hash tile has its level; bundles are as wide as the tiles of level 0.


def tile_path(level: int, index: int, width: int) -> str:
    """`tile/<L>/<N>[.p/<W>]`, the index in groups of three digits (tlog-tiles "Merkle Tree")."""
    digits = f"{index:03}"
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    encoded = "/".join([*(f"x{group}" for group in groups[:-1]), groups[-1]])
    name = "entries" if level == ENTRIES else str(level)
    return f"tile/{name}/{encoded}" + (f".p/{width}" if width < TILE_WIDTH else "")


def parse_tile_path(path: str) -> tuple[int, int, int] | None:
    """Level, index and width of a tile's path, or None when it is not the path of a tile."""
    match = TILE_PATH.fullmatch(path)
    if match is None:
        return None
    level = ENTRIES if match[1] == "entries" else int(match[1])
    tile = level, int(re.sub(r"[x/]", "", match[2])), int(match[3] or TILE_WIDTH)
    return tile if level <= 63 and tile_path(*tile) == path else None


def width_at(size: int, level: int, index: int) -> int:
    """How many hashes tile `index` of `level` has in a tree of `size`: 0 to 256."""
    hashes = size >> (8 * max(level, 0))
    return min(max(hashes - index * TILE_WIDTH, 0), TILE_WIDTH)


def files_below(folder: Path) -> Iterator[str]:
    """Every path below `folder` that is not a folder, relative to it, folders joined by `/`."""

    def unreadable(error: OSError) -> NoReturn:
        raise UnusableError(f"cannot read `{error.filename}`: {error.strerror}") from error

    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(files):
            yield (Path(root) / name).relative_to(folder).as_posix()


class LogFolder:
    """An exported log being read: entries once, in order, the tree recomputed from them."""

    def __init__(
        self, folder: Path, checkpoint: Checkpoint, report: Report, set_backs_accepted: Sequence[int]
    ) -> None:
        self.folder = folder
        self.set_backs_accepted = frozenset(set_backs_accepted)
        self.size = checkpoint.size
        self.report = report
        self.levels: list[list[bytes]] = [[]]  # Hashes of the unfinished tile of each level.
        self.tiles_full: list[int] = [0]
        self.tiles_checked = 0
        self.partials: dict[tuple[int, int], list[int]] = {}  # Partial tiles that earlier checkpoints needed.
        self.first_time = self.last_time = ""

    def list_files(self) -> None:
        """Reports what the checkpoint does not cover, and notes the partial tiles of earlier ones."""
        for path in files_below(self.folder):
            if not path.startswith("tile/"):
                if path not in ("checkpoint", "verifier-key"):
                    self.report.say(f"not checked, no part of a log: {path!a}")
                continue
            tile = parse_tile_path(path)
            if tile is None:
                self.report.problem(f"{path!a} is not the path of a tile")
                continue
            level, index, width = tile
            needed = width_at(self.size, level, index)
            if width > needed:
                what = "entries" if level == ENTRIES else "hashes"
                self.report.problem(f"`{path}` holds {what} beyond the checkpoint's {self.size} entries")
            elif width < needed:
                self.partials.setdefault((level, index), []).append(width)

    def read_entries(self, old: Checkpoint | None) -> bytes | None:
        """Reads every bundle and checks every tile. Returns the root as it was at the size of `old`."""
        old_root = EMPTY_ROOT if old is not None and old.size == 0 else None
        for start in range(0, self.size, TILE_WIDTH):
            leaves = self.read_bundle(start)
            if old is not None and start < old.size <= start + len(leaves):
                old_root = root_hash([leaves[: old.size - start], *self.levels[1:]])
            self.add_leaves(start // TILE_WIDTH, leaves)
        for level, hashes in enumerate(self.levels):
            if level and hashes:
                self.check_tile(level, self.tiles_full[level], hashes)
        return old_root

    def read_bundle(self, start: int) -> list[bytes]:
        """The leaf hashes of the bundle whose first entry is `start`."""
        index = start // TILE_WIDTH
        width = width_at(self.size, ENTRIES, index)
        path = tile_path(ENTRIES, index, width)
        data = read_file(self.folder / path, BUNDLE_BYTES_MAX)
        if data is None:
            raise NotVerifiedError(f"`{path}` is missing, with the entries {start} to {start + width - 1}")
        ends: list[int] = []
        leaves: list[bytes] = []
        sha256 = hashlib.sha256
        for end, entry in split_bundle(data, width, path):
            number = start + len(leaves)
            ends.append(end)
            leaves.append(sha256(b"\x00" + entry).digest())
            try:
                self.check_time(number, check_entry(entry))
            except EntryError as error:
                self.report.problem(f"entry {number}: {error}")
        for older in self.partials.pop((ENTRIES, index), []):
            self.compare(tile_path(ENTRIES, index, older), data[: ends[older - 1]], "the entries")
        return leaves

    def check_time(self, number: int, time: str) -> None:
        if time < self.last_time:
            step = f"clock set back at entry {number}: {time}Z follows {self.last_time}Z"
            if number in self.set_backs_accepted:
                self.report.say(f"{step}, as accepted")
            else:
                self.report.problem(step)
        self.first_time = self.first_time or time
        self.last_time = time

    def add_leaves(self, index: int, leaves: list[bytes]) -> None:
        """Adds one bundle's leaf hashes to the tree; a tile that became full is one hash a level up."""
        self.check_tile(0, index, leaves)
        if len(leaves) < TILE_WIDTH:
            self.levels[0] = leaves
            return
        node, level = subtree_hash(leaves), 1
        while True:
            if level == len(self.levels):
                self.levels.append([])
                self.tiles_full.append(0)
            hashes = self.levels[level]
            hashes.append(node)
            if len(hashes) < TILE_WIDTH:
                return
            self.check_tile(level, self.tiles_full[level], hashes)
            node = subtree_hash(hashes)
            self.levels[level] = []
            self.tiles_full[level] += 1
            level += 1

    def check_tile(self, level: int, index: int, hashes: Sequence[bytes]) -> None:
        """Compares a stored tile, and the partial tiles before it, with what was recomputed."""
        for width in (len(hashes), *self.partials.pop((level, index), [])):
            self.compare(tile_path(level, index, width), b"".join(hashes[:width]), "the entries' hashes")
            self.tiles_checked += 1

    def compare(self, path: str, expected: bytes, what: str) -> None:
        stored = read_file(self.folder / path, BUNDLE_BYTES_MAX)
        if stored is None:
            self.report.problem(f"`{path}` is missing")
        elif stored != expected:
            self.report.problem(f"`{path}` differs from {what}{self.locate(path, stored, expected)}")

    def locate(self, path: str, stored: bytes, expected: bytes) -> str:
        """Which entry a wrong tile of level 0 points at."""
        tile = parse_tile_path(path)
        if tile is None or tile[0] != 0 or len(stored) != len(expected):
            return ""
        at = next(at for at, (a, b) in enumerate(zip(stored, expected, strict=True)) if a != b)
        return f", first at entry {tile[1] * TILE_WIDTH + at // HASH_BYTES}"


# Commands


def verify_log(
    folder: Path,
    key: VerifierKey,
    report: Report,
    *,
    since: Path | None,
    witnesses: Witnesses,
    set_backs_accepted: Sequence[int] = (),
) -> None:
    """Verifies an exported folder. What is wrong goes into the report; what ends the reading is raised."""
    if not folder.is_dir():
        raise UnusableError(f"`{folder}` is not a folder")
    # The caller's own mistake in naming it should not look like a fault of the log.
    since_note = None if since is None else read_given_file(since, NOTE_BYTES_MAX)
    note = read_file(folder / "checkpoint", NOTE_BYTES_MAX)
    if note is None:
        raise NotVerifiedError("`checkpoint` is missing")
    checkpoint = open_newest(note, key, witnesses, report)
    stored_key = read_file(folder / "verifier-key", NOTE_BYTES_MAX)
    if stored_key is None:
        report.say("verifier-key: none in the folder")
    elif stored_key.removesuffix(b"\n") != key.text.encode():
        report.problem("`verifier-key` in the folder is not the key given")
    old = None
    if since_note is not None:
        old = open_checkpoint(since_note, key, "the older checkpoint")
        check_not_rewound(old, checkpoint)

    log = LogFolder(folder, checkpoint, report, set_backs_accepted)
    log.list_files()
    old_root = log.read_entries(old)
    times = f", from {log.first_time}Z to {log.last_time}Z" if log.first_time else ""
    report.say(f"entries: {checkpoint.size} read{times}")
    report.say(f"tiles: {log.tiles_checked} compared")
    if root_hash(log.levels) != checkpoint.root:
        report.problem("the entries are not those that the checkpoint was signed for: the root differs")
    if old is not None:
        if old_root == old.root:
            report.say(f"older checkpoint: its {old.size} entries are the first of this log")
        else:
            report.problem(f"history was changed: its first {old.size} entries are not the older log's")


def verify_proof(
    file: Path, key: VerifierKey, report: Report, *, entry_file: Path | None, witnesses: Witnesses
) -> None:
    """Verifies a C2SP tlog-proof: that the entry in it, or in `entry_file`, stands in the log."""
    given = None if entry_file is None else read_given_file(entry_file, ENTRY_BYTES_MAX)
    text = decode_text(read_given_file(file, PROOF_BYTES_MAX), "the proof")
    head, gap, note = text.partition("\n\n")
    lines = head.split("\n")
    if not gap or lines.pop(0) != PROOF_HEADER:
        raise NotVerifiedError(f"not a proof: it does not begin with `{PROOF_HEADER}` or has no checkpoint")
    embedded = None
    if lines and lines[0].startswith("extra "):
        embedded = decode_base64(lines.pop(0).removeprefix("extra "))
        if embedded is None:
            raise NotVerifiedError("the line `extra` is not base64")
    if not lines or not lines[0].startswith("index "):
        raise NotVerifiedError("the proof has no line `index`")
    index = decode_decimal(lines.pop(0).removeprefix("index "), "the index")
    path = [decode_hash(line, f"hash {number} of the proof") for number, line in enumerate(lines)]
    entry = embedded if given is None else given
    if entry is None:
        raise UnusableError("the proof does not carry its entry: name the file that holds it with `--entry`")
    if embedded is not None and entry != embedded:
        raise NotVerifiedError("the entry in the proof is not the one given")
    checkpoint = open_newest(note.encode(), key, witnesses, report)
    if root_of_inclusion(leaf_hash(entry), index, checkpoint.size, path) != checkpoint.root:
        raise NotVerifiedError(f"the proof does not lead from this entry at {index} to the checkpoint's root")
    try:
        check_entry(entry)
    except EntryError as error:
        raise NotVerifiedError(f"entry {index}: {error}") from error
    # Escaped, since an entry may hold characters that rewrite a terminal.
    report.say(f"entry {index}: {json.dumps(parse_entry(entry), separators=(',', ':'))}")


def verify_consistency(file: Path, key: VerifierKey, report: Report, *, witnesses: Witnesses) -> None:
    """Verifies a `creta.consistency/1` file: the newer log begins with the older one's entries."""
    text = decode_text(read_given_file(file, PROOF_BYTES_MAX), "the proof")
    header, _, rest = text.partition("\n")
    if header != CONSISTENCY_HEADER:
        raise NotVerifiedError(f"not a proof: its first line is not `{CONSISTENCY_HEADER}`")
    # A checkpoint has one empty line of its own, before its signatures; the next one ends it.
    own = rest.find("\n\n")
    end = rest.find("\n\n", own + 2)
    if own < 0 or end < 0:
        raise NotVerifiedError("the proof has no older checkpoint that an empty line ends")
    old_note, rest = rest[: end + 1], rest[end + 2 :]
    # Without hashes one empty line follows the other.
    path, gap, new_note = ("", "\n", rest[1:]) if rest.startswith("\n") else rest.partition("\n\n")
    if not gap:
        raise NotVerifiedError("the proof has no newer checkpoint")
    lines = path.split("\n") if path else []
    hashes = [decode_hash(line, f"hash {number} of the proof") for number, line in enumerate(lines)]
    old = open_checkpoint(old_note.encode(), key, "the older checkpoint")
    new = open_newest(new_note.encode(), key, witnesses, report)
    check_consistency(old, new, hashes)
    report.say(f"older checkpoint: its {old.size} entries are the first of this log")


def open_newest(note: bytes, key: VerifierKey, witnesses: Witnesses, report: Report) -> Checkpoint:
    """Opens the checkpoint that the verdict is about; each witness given must have cosigned it."""
    checkpoint = open_checkpoint(note, key, "the checkpoint")
    report.entries, report.root = checkpoint.size, checkpoint.root
    report.say(f"checkpoint: {checkpoint.origin}, {checkpoint.size} entries, signed by {key.label}")
    for witness in witnesses.keys:
        at = check_cosignature(checkpoint, witness, witnesses.after)
        report.say(f"witness: {witness.label} cosigned at {at}")
    return checkpoint


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="creta_verify_log.py", description="Verifies an exported audit log, or a proof about it."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    log = commands.add_parser("log", help="verify an exported folder")
    log.add_argument("path", metavar="DIR", type=Path)
    log.add_argument("--since", metavar="FILE", type=Path, help="an older checkpoint the log must extend")
    log.add_argument(
        "--accept-set-back", metavar="INDEX", type=int, action="append", default=[],
        help="accept that this entry is earlier than the one before it",
    )  # fmt: skip
    proof = commands.add_parser("proof", help="verify that an entry stands in the log (C2SP tlog-proof)")
    proof.add_argument("path", metavar="FILE", type=Path)
    proof.add_argument("--entry", metavar="FILE", type=Path, help="the entry, if not in the proof")
    consistency = commands.add_parser("consistency", help="verify that the log only grew")
    consistency.add_argument("path", metavar="FILE", type=Path)
    for command in (log, proof, consistency):
        command.add_argument("--key", metavar="VKEY", required=True, help="the log's key, your own copy")
        command.add_argument("--witness", metavar="VKEY", action="append", default=[], help="a cosigner")
        command.add_argument("--witnessed-after", metavar="TIME", help="refuse cosignatures before this time")
        command.add_argument("--json", action="store_true", help="print one JSON object, not lines")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, report: Report) -> None:
    key = parse_key(cast("str", options.key), NOTE_KEY)
    after = cast("str | None", options.witnessed_after)
    witnesses = parse_witnesses(cast("list[str]", options.witness), after)
    path = cast("Path", options.path)
    if options.command == "log":
        since = cast("Path | None", options.since)
        accepted = cast("list[int]", options.accept_set_back)
        verify_log(path, key, report, since=since, witnesses=witnesses, set_backs_accepted=accepted)
    elif options.command == "proof":
        verify_proof(path, key, report, entry_file=cast("Path | None", options.entry), witnesses=witnesses)
    else:
        verify_consistency(path, key, report, witnesses=witnesses)


def parse_witnesses(keys: Sequence[str], after: str | None) -> Witnesses:
    witnesses = tuple(parse_key(text, COSIGNATURE_KEY) for text in keys)
    if after is None:
        return Witnesses(witnesses)
    if not witnesses:
        raise UnusableError("`--witnessed-after` needs a `--witness` whose time it bounds")
    try:
        at = datetime.strptime(after, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise UnusableError("`--witnessed-after` is a time in UTC like `2026-03-01T12:00:00Z`") from error
    return Witnesses(witnesses, int(at.timestamp()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command, prints the verdict and returns the exit code."""
    options = parse_arguments(arguments)
    report = Report()
    code = 0
    try:
        run(options, report)
    except NotVerifiedError as error:
        report.problem(str(error))
    except UnusableError as error:
        report.problem(str(error))
        code = 2
    reason = report.reason()
    if reason is not None:
        code = code or 1
    root = base64.b64encode(report.root).decode()
    if options.json:
        verdict: dict[str, object] = {"verified": reason is None, "reason": reason, "lines": report.lines}
        verdict |= {"problems": report.problems, "problem_count": report.problem_count}
        if reason is None:
            verdict |= {"entries": report.entries, "root": root}
        print(json.dumps(verdict))
        return code
    for line in report.lines:
        print(line)
    if report.problem_count > 1:
        for problem in report.problems:
            print(f"problem: {problem}")
    print(f"verified: {report.entries} entries, root {root}" if reason is None else f"NOT verified: {reason}")
    return code


if __name__ == "__main__":
    # A name that the terminal cannot show must not end the verification.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
