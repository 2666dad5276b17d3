"""`make attack-log`: manipulates a real server's audit log in every way we know, and asks three verifiers.

First the untouched log: all three have to verify it, or what follows would prove nothing. Then each
manipulation, on a copy. A forger who has the log's key is simulated by the same entries signed with a key
of our own; such a forgery has to verify as long as only the key is known, or it would prove nothing either.
What happens to the server's own files is listed apart: those are sealed, so there only the server itself
can look.
"""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from attack import Api
from attack_log_world import (
    CRETA,
    CRETA_VERIFY,
    VERIFIERS,
    Demands,
    Program,
    Witness,
    World,
    creta,
    judge,
    reason_in,
    start_refused,
    wait_for,
    without_witness,
)
from demo import ROOT, Failed, free_port, say

sys.path.insert(0, str(ROOT / "tools" / "tests"))
import log_builder as builder

SAID_MAX = 96  # Characters of a reason that are shown.


@dataclass(frozen=True)
class Log:
    """An exported log, and what an auditor has kept or been told about it."""

    folder: Path
    key: str
    entries: Sequence[bytes]
    early: Path  # Folder of an export made long before.
    witness: str
    cosigned: str  # The checkpoint, with the witness's cosignature.
    between: str  # A time after the early export and before the newest.

    @property
    def all_demands(self) -> Demands:
        return Demands(self.early / "checkpoint", self.witness, self.between)

    @property
    def early_size(self) -> int:
        return int((self.early / "checkpoint").read_text().split("\n")[1])


@dataclass(frozen=True)
class Manipulation:
    """`harm` changes a copy of what is verified.

    `alone`: knowing nothing but the key one has to believe it, since it is a log by itself.
    """

    title: str
    harm: Callable[[Path], None]
    demands: Demands
    alone: bool = False


# Building blocks of forgers


def entries_of(folder: Path) -> list[bytes]:
    entries: list[bytes] = []
    for bundle in sorted((folder / "tile" / "entries").rglob("*")):
        data = bundle.read_bytes() if bundle.is_file() else b""
        while data:
            end = 2 + int.from_bytes(data[:2], "big")
            entries.append(data[2:end])
            data = data[end:]
    return entries


def last_file(folder: Path, under: str) -> str:
    """The path of the newest tile or bundle."""
    return str(max(path for path in (folder / under).rglob("*") if path.is_file()).relative_to(folder))


def edited(entry: bytes, **members: object) -> bytes:
    value = json.loads(entry) | members
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def permit_a_refusal(entries: Sequence[bytes], before: int) -> list[bytes]:
    """Some early refusal becomes a permission: what a forger would want."""
    changed = list(entries)
    at = next(n for n in range(before // 3, before) if json.loads(entries[n]).get("decision") == "deny")
    changed[at] = edited(entries[at], decision="allow")
    return changed


def tiles(entries: Sequence[bytes], only: str = "tile") -> Callable[[Path], None]:
    """Entries with tiles that fit them; the checkpoint stays as it was."""

    def harm(folder: Path) -> None:
        if only == "tile":
            shutil.rmtree(folder / "tile")
        builder.export(folder, entries, only=only)

    return harm


def signed(
    entries: Sequence[bytes], signer: builder.Signer = builder.LOG, note: str | None = None
) -> Callable[[Path], None]:
    """Everything made to fit, and signed again."""

    def harm(folder: Path) -> None:
        shutil.rmtree(folder)
        builder.export(folder, entries, note or builder.checkpoint(entries, signer))
        (folder / "verifier-key").write_text(f"{signer.vkey}\n")

    return harm


def put_back(older: Path) -> Callable[[Path], None]:
    def harm(copy: Path) -> None:
        shutil.rmtree(copy)
        shutil.copytree(older, copy)

    return harm


def replace(path: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def harm(target: Path) -> None:
        file = target / path if path else target
        before = file.read_bytes()
        file.write_bytes(change(before))
        if file.read_bytes() == before:
            raise Failed(f"`{file.name}` did not change")

    return harm


def remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def swap(entries: Sequence[bytes], one: int, other: int) -> list[bytes]:
    changed = list(entries)
    changed[one], changed[other] = changed[other], changed[one]
    return changed


# Manipulations


def without_the_key(log: Log) -> list[Manipulation]:
    """By somebody who can change every file of the export, and cannot sign."""
    entries, size, key = log.entries, len(log.entries), Demands()
    forged = permit_a_refusal(entries, log.early_size)
    newest = log.folder / "checkpoint"
    gap = [*entries[: size // 3], *entries[size // 2 :]]
    bundle, upper = (last_file(log.folder, under) for under in ("tile/entries", "tile/1"))

    def shorten(note: bytes) -> bytes:
        return note.replace(f"\n{size}\n".encode(), f"\n{size - 3}\n".encode(), 1)

    def flipped(tile: bytes) -> bytes:
        return bytes([tile[0] ^ 1]) + tile[1:]

    def fewer(folder: Path) -> None:
        tiles(entries[:-3])(folder)
        replace("checkpoint", shorten)(folder)

    own_key = builder.Signer(builder.ORIGIN, 99)
    return [
        Manipulation("an entry edited", tiles(forged, only="tile/entries"), key),
        Manipulation("an entry edited, its tiles made to fit", tiles(forged), key),
        Manipulation("two entries swapped, tiles fit", tiles(swap(entries, 40, 41)), key),
        Manipulation("an entry put in, tiles fit", tiles([*entries[:50], entries[50], *entries[50:]]), key),
        Manipulation("a stretch dropped from the middle, tiles fit", tiles(gap), key),
        Manipulation("the newest three deleted, tiles fit", tiles(entries[:-3]), key),
        Manipulation("the newest three deleted, the checkpoint's size edited", fewer, key),
        Manipulation("entries appended that nobody signed for", tiles([*entries, entries[-1]]), key),
        Manipulation("a truncated bundle", replace(bundle, lambda data: data[:-5]), key),
        Manipulation("a bundle taken away", remove("tile/entries/000"), key),
        Manipulation("a hash tile damaged", replace(upper, flipped), key),
        Manipulation("the key replaced, everything signed anew", signed(forged, own_key), key),
        Manipulation("put back to an older export; a newer checkpoint was kept", put_back(log.early),
                     Demands(since=newest), alone=True),
        Manipulation("put back to an older export; a recent cosignature is asked for", put_back(log.early),
                     Demands(witness=log.witness, witnessed_after=log.between), alone=True),
    ]  # fmt: skip


def with_the_key(log: Log) -> list[Manipulation]:
    """By root with the log's key: every forgery is a log by itself."""
    entries, size = list(log.entries), len(log.entries)
    forged = permit_a_refusal(entries, log.early_size)
    early, latest = Demands(since=log.early / "checkpoint"), Demands(since=log.folder / "checkpoint")
    witness = Demands(witness=log.witness)
    shorter = signed(entries[:-3])
    two_ways = [*entries[:20], entries[20].replace(b'"action":', b'"action": ', 1), *entries[21:]]
    cosignature = log.cosigned.splitlines(keepends=True)[-1]
    gap = [*entries[: size // 4], *entries[size // 4 + 5 :]]
    fork = [*entries[:-9], *(edited(entry, action="heartbeat") for entry in entries[-9:]), entries[-1]]
    start = json.loads(entries[0])["time"]
    set_back = [*entries, edited(entries[-1], time=start)]
    return [
        Manipulation("an entry edited; an older checkpoint was kept", signed(forged), early, alone=True),
        Manipulation("an entry edited; a cosignature is asked for", signed(forged), witness, alone=True),
        Manipulation("an entry edited, the old cosignature pasted in",
                     signed(forged, note=builder.checkpoint(forged) + cosignature), witness, alone=True),
        Manipulation("a stretch dropped; an older checkpoint was kept", signed(gap), early, alone=True),
        Manipulation("the newest deleted; the newest checkpoint was kept", shorter, latest, alone=True),
        Manipulation("the newest deleted; a cosignature is asked for", shorter, witness, alone=True),
        Manipulation("a fork; the newest checkpoint was kept", signed(fork), latest, alone=True),
        Manipulation("a fork; a cosignature is asked for", signed(fork), witness, alone=True),
        Manipulation("the clock set back", signed(set_back), Demands()),
        Manipulation("an entry that can be read in two ways", signed(two_ways), Demands()),
    ]  # fmt: skip


# The table


class Table:
    """Counts what the verifiers say; nothing in its last line is written down beforehand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manipulations = self.detected = 0
        self.faults: list[str] = []

    def baseline(self, what: str, kind: str, path: Path, key: str, demands: Demands) -> None:
        verdicts = [judge(verifier, kind, path, key, demands) for verifier in VERIFIERS]
        verified = sum(verdict.verified for verdict in verdicts)
        say(f"untouched {what}: verified by {verified} (with {demands})")
        if verified != len(VERIFIERS):
            reasons = [f"{name}: {v.said}" for name, v in zip(VERIFIERS, verdicts, strict=True)]
            raise Failed("untouched, it does not verify; nothing would be proven:\n" + "\n".join(reasons))

    def attack(self, kind: str, original: Path, key: str, manipulation: Manipulation) -> None:
        self.manipulations += 1
        copy = self.folder / "copy"
        if original.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(original, copy)
        else:
            copy = self.folder / "copied-proof"
            shutil.copy(original, copy)
        manipulation.harm(copy)
        title, demands = manipulation.title, manipulation.demands
        alone = ""
        if manipulation.alone:
            fooled = sum(judge(verifier, kind, copy, key, Demands()).verified for verifier in VERIFIERS)
            alone = f"; with the key alone {fooled} verify it"
            if fooled != len(VERIFIERS):
                self.faults.append(f"`{title}` is no log by itself, so it shows nothing about memory")
        say(f"\n{self.manipulations:3}  {title}   [{demands}{alone}]")
        verdicts = {verifier: judge(verifier, kind, copy, key, demands) for verifier in VERIFIERS}
        for verifier, verdict in verdicts.items():
            said = verdict.said if len(verdict.said) <= SAID_MAX else verdict.said[: SAID_MAX - 3] + "..."
            say(f"     {verifier:<20} {'NOT NOTICED' if verdict.verified else said}")
        if not any(verdict.verified for verdict in verdicts.values()):
            self.detected += 1

    def other(self, title: str, who: str, said: str | None) -> None:
        """No manipulation of an export: to be noticed by whoever has that data, and not counted."""
        say(f"\n  -  {title}")
        say(f"     {who:<20} {said if said is not None else 'NOT NOTICED'}")
        say(f"     {'offline verifiers':<20} not their subject")
        if said is None:
            self.faults.append(f"`{title}` was not noticed")


# What only the server, or the witness, can see


def fork_at_the_witness(table: Table, log: Log, witness: Witness) -> None:
    """Root asks the witness to cosign the other history too."""
    forged = permit_a_refusal(log.entries, log.early_size)
    status, said = witness.cosign(len(forged), [], builder.checkpoint(forged))
    title = "two histories of one size shown to the witness, both signed by the log"
    table.other(title, "the witness", None if status == 200 else f"{status}, {evidence_of(witness)}")
    longer = [*forged, forged[-1]]
    path = builder.consistency_path(len(forged), [builder.leaf(entry) for entry in longer])
    proof = [base64.b64encode(node).decode() for node in path]
    status, said = witness.cosign(len(forged), proof, builder.checkpoint(longer))
    title = "a longer fork shown to the witness, with a proof that fits the fork"
    table.other(title, "the witness", None if status == 200 else f"{status} {said}")


def evidence_of(witness: Witness) -> str:
    state = json.loads(next((witness.data / "logs").iterdir()).read_text())
    kept = len(state.get("evidence", []))
    return f"contradicting checkpoints kept as evidence: {kept}"


def on_the_servers_files(table: Table, world: World, yesterday: Path) -> None:
    """As root, on copies of the data folder of a server that does not run."""
    log = "prod/control-plane/audit"
    other = table.folder / "another"
    creta(table.folder, "server", "init", "--data", other, "--environment", "prod")

    def attack(title: str, harm: Callable[[Path], None], *, witnessed: bool = False) -> None:
        copy = table.folder / "data-copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(world.data, copy)
        harm(copy)
        if not witnessed:
            without_witness(copy)
        who = "start, with witness" if witnessed else "creta server start"
        table.other(title, who, start_refused(table.folder, copy))

    def yesterdays(path: str) -> Callable[[Path], None]:
        def harm(copy: Path) -> None:
            place = copy / path
            if place.is_dir():
                shutil.rmtree(place)
                shutil.copytree(yesterday / path, place)
            else:
                shutil.copy(yesterday / path, place)

        return harm

    attack("one bit of the log's own file flipped", replace(f"{log}/entries", flip_a_bit))
    attack("the newest cut off the log's own file", replace(f"{log}/entries", lambda data: data[:-2000]))
    attack("yesterday's entries put back beside today's checkpoint", yesterdays(f"{log}/entries"))
    attack("yesterday's whole data folder put back", put_back(yesterday), witnessed=True)
    attack("the whole log taken away", lambda copy: shutil.rmtree(copy / log))
    attack("another signing key put in the log's place", replace(
        f"{log}/signing-key", lambda _: (other / log / "signing-key").read_bytes()
    ))  # fmt: skip
    attack("yesterday's metadata database put back", yesterdays("metadata.sqlite"))
    attack("two rows of the metadata database swapped", sql(
        "UPDATE document SET sealed = (SELECT sealed FROM document ORDER BY rowid LIMIT 1 OFFSET 1) "
        "WHERE rowid = (SELECT min(rowid) FROM document)"
    ))  # fmt: skip
    attack("a row of the metadata database deleted", sql(
        "DELETE FROM document WHERE rowid = (SELECT min(rowid) FROM document)"
    ))  # fmt: skip


def flip_a_bit(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def sql(statement: str) -> Callable[[Path], None]:
    def harm(copy: Path) -> None:
        database = sqlite3.connect(copy / "metadata.sqlite", timeout=30)
        changed = database.execute(statement).rowcount
        database.commit()
        database.close()
        if changed < 1:
            raise Failed(f"no row was changed by: {statement}")

    return harm


def on_a_running_server(table: Table, world: World) -> None:
    """As superuser of the database, while the server runs: its own check has to go red."""
    copy = table.folder / "running"
    shutil.copytree(world.data, copy)
    without_witness(copy)
    port = free_port()
    listen = ("--listen", f"127.0.0.1:{port}")
    server = Program(table.folder / "running.log", CRETA, "server", "start", "--data", copy, *listen)
    try:
        api = Api(copy)
        api.url = f"https://127.0.0.1:{port}"
        wait_for(api, copy, server)
        admin = api.token(copy / "admin.json")
        ask = {"checks": ["evidence-integrity"]}
        before = api.send("POST", "/v1/trust/run", admin, ask)[1]["ran"][0]
        if before["outcome"] != "pass":
            raise Failed(f"the evidence of an untouched server is {before['outcome']}")
        say("\nuntouched copy of the data folder: the server starts, its evidence is what its log says")
        # Kinds are hashed; evidence is what there is most of.
        most = "(SELECT kind FROM document GROUP BY kind ORDER BY count(*) DESC LIMIT 1)"
        sql(f"DELETE FROM document WHERE rowid = (SELECT min(rowid) FROM document WHERE kind = {most})")(copy)  # noqa: S608
        status, answer = api.send("POST", "/v1/trust/run", admin, ask)
        said: str | None = None
        if status != 200:
            said = f"{status}; its log: {reason_in(server.log, str(answer.get('code')))}"
        elif answer["ran"][0]["outcome"] != "pass":
            ran = answer["ran"][0]
            said = f"evidence-integrity: {ran['outcome']}, as entry {ran['log_index']}"
        table.other("a piece of stored evidence deleted under a running server", "the server's checks", said)
    finally:
        server.stop()


# The story


def same_log_under_our_key(world: World, early: Path, newest: Path, between: str) -> tuple[Log, Witness]:
    """The server's entries, signed by a key that we have: what root with the log's key can do."""
    witness = Witness(world.folder, "witness-2", builder.LOG.vkey)
    entries = entries_of(newest)
    part = entries[: len(entries_of(early))]
    note = builder.checkpoint(entries)
    status, line = witness.cosign(0, [], note)
    if status != 200:
        raise Failed(f"the witness does not cosign an honest log: {status} {line}")
    folder = builder.export(world.folder / "our-log", entries, note + line)
    old = builder.export(world.folder / "our-early", part)
    return Log(folder, builder.LOG.vkey, entries, old, witness.key, note + line, between), witness


def seconds_passed() -> str:
    """An instant with whole seconds on both sides: cosignatures carry no smaller unit."""
    time.sleep(1.1)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    time.sleep(1.1)
    return now


def proofs(table: Table, world: World, ours: Log) -> None:
    """Files about single entries and about growth, written by the server."""
    entry, growth = world.folder / "entry.tlog-proof", world.folder / "growth"
    table.baseline("proof of an entry", "proof", entry, world.key, Demands())
    table.baseline("proof of growth", "consistency", growth, world.key, Demands())
    ours_grown = world.folder / "our-growth"
    ours_grown.write_text(builder.consistency_file(ours.entries, ours.early_size))
    table.baseline("proof of growth under a key of ours", "consistency", ours_grown, ours.key, Demands())
    signed_before = builder.checkpoint(ours.entries[: ours.early_size])
    signed_too = builder.checkpoint(permit_a_refusal(ours.entries, ours.early_size)[: ours.early_size])
    moved = replace("", lambda data: data.replace(b"\nindex 1", b"\nindex 2", 1))
    exchanged = replace("", lambda data: data.replace(signed_before.encode(), signed_too.encode(), 1))
    newer = (world.folder / "newest" / "checkpoint").read_bytes()
    backwards = replace("", lambda data: turned_around(data, newer))
    for kind, file, key, title, harm in (
        ("proof", entry, world.key, "a proof of an entry, moved to another index", moved),
        ("consistency", growth, world.key, "a proof of growth, a hash taken out", replace("", drop_a_hash)),
        ("consistency", growth, world.key, "a proof of growth, turned around", backwards),
        (
            "consistency",
            ours_grown,
            ours.key,
            "a proof of growth between two signed histories",
            exchanged,
        ),
    ):
        table.attack(kind, file, key, Manipulation(title, harm, Demands()))


def turned_around(growth: bytes, newer: bytes) -> bytes:
    """The newer checkpoint first, the older one last."""
    name, rest = growth.split(b"\n", 1)
    head, signatures, rest = rest.split(b"\n\n", 2)
    hashes = rest.removesuffix(newer)
    return name + b"\n" + newer + b"\n" + hashes + head + b"\n\n" + signatures + b"\n"


def drop_a_hash(data: bytes) -> bytes:
    """The first line after the older checkpoint, which the second empty line ends."""
    head, signatures, rest = data.split(b"\n\n", 2)
    return b"\n\n".join([head, signatures, rest.split(b"\n", 1)[1]])


def attack_everything(world: World) -> int:
    table = Table(world.folder / "attacks")
    table.folder.mkdir()
    world.make_tenant()
    world.work(20)
    early = world.export("early")
    world.stop()
    yesterday = world.folder / "yesterday"
    shutil.copytree(world.data, yesterday)
    between = seconds_passed()
    world.start()
    world.work(40)
    creta(world.folder, "trust", "run", "clock", "log-integrity", "--profile", "admin")
    newest = world.export("newest")
    creta(world.folder, "audit", "prove", "100", "--out", "entry.tlog-proof", "--profile", "admin")
    creta(
        world.folder,
        "audit",
        "prove",
        "--since",
        early / "checkpoint",
        "--out",
        "growth",
        "--profile",
        "admin",
    )
    world.stop()

    entries = entries_of(newest)
    log = Log(
        newest, world.key, entries, early, world.witness.key, (newest / "checkpoint").read_text(), between
    )
    ours, second_witness = same_log_under_our_key(world, early, newest, between)
    try:
        say(f"a server's log: {len(entries)} entries, of which {log.early_size} under an older checkpoint\n")
        table.baseline("export", "log", log.folder, log.key, log.all_demands)
        table.baseline("export under a key of ours", "log", ours.folder, ours.key, ours.all_demands)
        say("\n== Files of the export changed, without the log's key")
        for manipulation in without_the_key(log):
            table.attack("log", log.folder, log.key, manipulation)
        say("\n== Rewritten by root with the log's key")
        for manipulation in with_the_key(ours):
            table.attack("log", ours.folder, ours.key, manipulation)
        say("\n== Proof files")
        proofs(table, world, ours)
        say("\n== The server's own files and its witness: not counted below")
        fork_at_the_witness(table, ours, second_witness)
    finally:
        second_witness.program.stop()
    on_a_running_server(table, world)
    on_the_servers_files(table, world, yesterday)
    say()
    for fault in table.faults:
        say(f"FAULT: {fault}")
    say(f"manipulations {table.manipulations}, detected {table.detected} by {len(VERIFIERS)}")
    return 0 if table.detected == table.manipulations and not table.faults else 1


def main() -> int:
    for program in (CRETA, CRETA_VERIFY):
        if not program.exists():
            say(f"attack-log: `{program}` is missing: cargo build -p creta-cli -p creta-verifier")
            return 1
    started = time.monotonic()
    world = None
    try:
        with tempfile.TemporaryDirectory(prefix="creta-attack-log-") as folder:
            try:
                world = World(Path(folder))
                code = attack_everything(world)
            finally:
                if world is not None:
                    world.close()
    except Failed as failure:
        say(f"\nattack-log: {failure}")
        return 1
    say(f"All of it took {time.monotonic() - started:.0f} s.")
    return code


if __name__ == "__main__":
    sys.exit(main())
