"""Builds logs by the slow definitions of RFC 6962 §2.1, which the verifier does not use.

The verifier never splits a tree: it pairs hashes, tile by tile. So neither can hide a mistake of the other.
"""

# pyright: strict

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ORIGIN = "creta/prod/audit"
WIDTH = 256


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1: MTH."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    at = split(len(leaves))
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:at]) + tree_hash(leaves[at:])).digest()


def inclusion_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1: PATH."""
    if len(leaves) == 1:
        return []
    at = split(len(leaves))
    if index < at:
        return [*inclusion_path(index, leaves[:at]), tree_hash(leaves[at:])]
    return [*inclusion_path(index - at, leaves[at:]), tree_hash(leaves[:at])]


def consistency_path(old: int, leaves: Sequence[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962 §2.1.2: SUBPROOF."""
    if old == len(leaves):
        return [] if whole else [tree_hash(leaves)]
    at = split(len(leaves))
    if old <= at:
        return [*consistency_path(old, leaves[:at], whole), tree_hash(leaves[at:])]
    return [*consistency_path(old - at, leaves[at:], False), tree_hash(leaves[:at])]


@dataclass(frozen=True)
class Signer:
    """A key pair under a name, derived from a seed so that failures repeat."""

    name: str
    seed: int
    kind: int = 1

    @property
    def private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(bytes([self.seed]) * 32)

    @property
    def material(self) -> bytes:
        return bytes([self.kind]) + self.private.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self.material).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.material).decode()}"

    def line(self, blob: bytes) -> str:
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + blob).decode()}\n"

    def sign(self, text: str) -> str:
        return self.line(self.private.sign(text.encode()))

    def cosign(self, text: str, seconds: int = 1_760_000_000) -> str:
        message = f"cosignature/v1\ntime {seconds}\n{text}".encode()
        return self.line(seconds.to_bytes(8, "big") + self.private.sign(message))


LOG = Signer(ORIGIN, 1)
WITNESS = Signer("witness.example/w1", 2, kind=4)
OTHER_WITNESS = Signer("witness.example/w2", 3, kind=4)
STRANGER = Signer(ORIGIN, 9)


def entry_at(number: int, **members: object) -> bytes:
    hours, seconds = divmod(number, 3600)
    time = f"2025-03-{1 + hours // 24:02}T{hours % 24:02}:{seconds // 60:02}:{seconds % 60:02}Z"
    value = {"version": "creta.audit/1", "time": time, "environment": "prod", "action": "read"}
    value |= {"tenant": f"t{number % 7}", "features": {"count": number}}  # type: ignore[dict-item]
    return json.dumps(value | members, sort_keys=True, separators=(",", ":")).encode()


def entries_of(size: int) -> list[bytes]:
    return [entry_at(number) for number in range(size)]


def checkpoint_text(leaves: Sequence[bytes], origin: str = ORIGIN) -> str:
    return f"{origin}\n{len(leaves)}\n{base64.b64encode(tree_hash(leaves)).decode()}\n"


def checkpoint(entries: Sequence[bytes], signer: Signer = LOG, witnesses: Sequence[Signer] = ()) -> str:
    text = checkpoint_text([leaf(entry) for entry in entries])
    return text + "\n" + signer.sign(text) + "".join(witness.cosign(text) for witness in witnesses)


def bundle(entries: Sequence[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def tiles(entries: Sequence[bytes]) -> Iterator[tuple[str, bytes]]:
    """Every bundle and hash tile, by tlog-tiles' formula; enough of the path encoding for 256,000 entries."""
    leaves = [leaf(entry) for entry in entries]
    for start in range(0, len(entries), WIDTH):
        part = entries[start : start + WIDTH]
        partial = f".p/{len(part)}" if len(part) < WIDTH else ""
        yield f"tile/entries/{start // WIDTH:03}{partial}", bundle(part)
    level = 0
    while span := len(leaves) // WIDTH**level:
        hashes = [tree_hash(leaves[at * WIDTH**level : (at + 1) * WIDTH**level]) for at in range(span)]
        for start in range(0, span, WIDTH):
            part = hashes[start : start + WIDTH]
            partial = f".p/{len(part)}" if len(part) < WIDTH else ""
            yield f"tile/{level}/{start // WIDTH:03}{partial}", b"".join(part)
        level += 1


def write(folder: Path, path: str, data: bytes) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_bytes(data)


def export(folder: Path, entries: Sequence[bytes], note: str | None = None, *, only: str = "") -> Path:
    """Writes a log; `only` restricts it to paths that start so and leaves the others as they were."""
    for path, data in tiles(entries):
        if path.startswith(only):
            write(folder, path, data)
    if not only:
        write(folder, "checkpoint", (note or checkpoint(entries)).encode())
        write(folder, "verifier-key", f"{LOG.vkey}\n".encode())
    return folder


def corrupt(file: Path, at: int, mask: int = 1) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= mask
    file.write_bytes(data)


def inclusion_file(entries: Sequence[bytes], index: int, *, embed: bool = True) -> str:
    path = inclusion_path(index, [leaf(entry) for entry in entries])
    lines = ["c2sp.org/tlog-proof@v1", f"index {index}", *(base64.b64encode(node).decode() for node in path)]
    if embed:
        lines.insert(1, f"extra {base64.b64encode(entries[index]).decode()}")
    return "\n".join(lines) + "\n\n" + checkpoint(entries, witnesses=[WITNESS])


def consistency_file(entries: Sequence[bytes], old: int) -> str:
    older, newer = checkpoint(entries[:old]), checkpoint(entries, witnesses=[WITNESS])
    path = consistency_path(old, [leaf(entry) for entry in entries]) if old else []
    hashes = "".join(base64.b64encode(node).decode() + "\n" for node in path)
    return f"creta.consistency/1\n{older}\n{hashes}\n{newer}"
