"""The worker's protocol from the server's side, over a real socket and a real process."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from creta._worker import ANSWER, CALL, FAILED, FRAME_BYTES_MAX, HELLO, PROTOCOL, READY, receive, send

SRC = Path(__file__).parents[1] / "src"
FLOAT, INT, TEXT = {"kind": "float"}, {"kind": "int"}, {"kind": "str"}
AT = {"kind": "datetime"}
LEVEL = {"kind": "enum", "name": "Level", "members": ["low", "high"]}
PLACE = {
    "kind": "struct",
    "name": "Place",
    "fields": [{"name": "city", "type": TEXT}, {"name": "since", "type": AT, "optional": True}],
}

MODULES = {
    "features/__init__.py": "",
    "features/user.py": """
from __future__ import annotations
import asyncio, os, sys
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Annotated, Any
from creta import *
from creta import Feature, Nulls
print("importing prints")
class Level(Enum):
    LOW = "low"
    HIGH = "high"
@dataclass(frozen=True)
class Place:
    city: str
    since: datetime | None
@entity
class User:
    id: Feature[int] = key()
    x: Feature[float] = feature()
    name: Feature[str] = feature()
    level: Feature[Level] = feature()
    place: Feature[Place] = feature()
    y: Feature[float] = feature()
    z: Feature[float | None] = feature()
@resolver
def y(x: Annotated[float | None, User.x], at: Annotated[datetime, Now]) -> Annotated[float, User.y]:
    print("calling prints", x)
    os.write(1, b"and writes")
    if x is None:
        return None
    if x < 0:
        raise ValueError(f"secret {x}")
    if x == 7:
        return True
    if x == 8:
        sys.exit(3)
    if x == 9:
        return "nine"
    return at.year + x if x > 1 else 2
@resolver
def level(level: Annotated[Level, User.level], place: Annotated[Place, User.place]) -> tuple[
    Annotated[Level, User.level], Annotated[Place, User.place]
]:
    assert isinstance(level, Level) and isinstance(place, Place)
    return Level.HIGH, Place(place.city.upper(), place.since)
@resolver(frame="pandas")
def pandas(x: Annotated[Any, User.x, Nulls]) -> Annotated[Any, User.z]:
    return x * 2
@resolver(frame="polars")
def polars(x: Annotated[Any, User.x]) -> Annotated[Any, User.z]:
    return x * 2
@resolver(frame="arrow")
def short(x: Annotated[Any, User.x]) -> Annotated[Any, User.z]:
    return x.slice(1)
@resolver(frame="arrow")
def raising(x: Annotated[Any, User.x]) -> Annotated[Any, User.z]:
    raise KeyError("secret")
@resolver(frame="arrow")
def texts(x: Annotated[Any, User.x]) -> Annotated[Any, User.z]:
    return ["a"] * len(x)
@resolver
async def slow(x: Annotated[float, User.x]) -> Annotated[float, User.y]:
    await asyncio.sleep(0.05)
    if x == 0:
        raise RuntimeError("secret")
    return x + 1
""",
}


def _signature(name: str, inputs: dict[str, Any], outputs: list[Any], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "module": "features.user",
        "mode": "scalar",
        "is_async": False,
        "inputs": [{"name": n, "type": t, "optional": o} for n, (t, o) in inputs.items()],
        "outputs": [{"type": t, "optional": o} for t, o in outputs],
    } | more


X = {"x": (FLOAT, False)}
RESOLVERS = [
    _signature("y", {"x": (FLOAT, True), "at": (AT, False)}, [(FLOAT, False)]),
    _signature("level", {"level": (LEVEL, False), "place": (PLACE, False)}, [(LEVEL, False), (PLACE, False)]),
    _signature("pandas", {"x": (FLOAT, True)}, [(FLOAT, True)], mode="pandas"),
    _signature("polars", X, [(FLOAT, True)], mode="polars"),
    _signature("short", X, [(FLOAT, True)], mode="arrow"),
    _signature("raising", X, [(FLOAT, True)], mode="arrow"),
    _signature("texts", X, [(FLOAT, True)], mode="arrow"),
    _signature("slow", X, [(FLOAT, False)], is_async=True),
]
NAMES = [resolver["name"] for resolver in RESOLVERS]


@dataclass
class Worker:
    channel: socket.socket
    process: subprocess.Popen[bytes]

    def hello(
        self, modules: dict[str, str], resolvers: list[dict[str, Any]], protocol: str = PROTOCOL
    ) -> tuple[int, Any]:
        body = {"protocol": protocol, "modules": modules, "resolvers": resolvers}
        send(self.channel, HELLO, json.dumps(body).encode())
        kind, answer = receive(self.channel)
        return kind, json.loads(answer)

    def call(self, name: str, columns: dict[str, Any], call_id: int = 7) -> tuple[int, Any]:
        index = NAMES.index(name) if name in NAMES else 99
        sink = pa.BufferOutputStream()
        batch = pa.RecordBatch.from_pydict(columns)
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        send(self.channel, CALL, struct.pack("<II", index, call_id), sink.getvalue().to_pybytes())
        return self.answer(call_id)

    def answer(self, call_id: int) -> tuple[int, Any]:
        kind, body = receive(self.channel)
        if kind == FAILED:
            failed = json.loads(body)
            assert failed.pop("call") == call_id
            return kind, failed
        assert struct.unpack_from("<I", body) == (call_id,)
        return kind, pa.ipc.open_stream(body[4:]).read_all()

    def end(self) -> int:
        self.channel.close()
        return self.process.wait(timeout=20)


def _start() -> Worker:
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    command = [sys.executable, "-P", "-s", "-B", "-m", "creta._worker", "--socket-fd", str(theirs.fileno())]
    process = subprocess.Popen(
        command, pass_fds=[theirs.fileno()], cwd="/", env={"PYTHONPATH": str(SRC)}, stdout=subprocess.DEVNULL
    )
    theirs.close()
    return Worker(ours, process)


@pytest.fixture
def fresh() -> Iterator[Worker]:
    worker = _start()
    yield worker
    worker.channel.close()
    worker.process.kill()
    worker.process.wait()


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    started = _start()
    kind, ready = started.hello(MODULES, RESOLVERS)
    assert (kind, ready) == (
        READY,
        {"python": ".".join(map(str, sys.version_info[:2])), "pid": started.process.pid},
    )
    yield started
    assert started.end() == 0


def _at(*years: int) -> Any:
    return pa.array([datetime(year, 1, 1, tzinfo=UTC) for year in years], pa.timestamp("us", tz="UTC"))


def test_rows_fail_one_by_one_with_a_code_and_without_the_text(worker: Worker) -> None:
    x = [2.0, None, -1.0, 7.0, 8.0, 9.0, 1.0]
    kind, table = worker.call("y", {"x": pa.array(x, pa.float64()), "at": _at(*[2013] * 7)})
    assert kind == ANSWER
    raised, wrong = "resolver/raised", "resolver/wrong-type"
    assert table["e0"].to_pylist() == [None, wrong, raised, wrong, raised, wrong, None]
    assert (table["o0"][0].as_py(), table["o0"][6].as_py()) == (2015.0, 2.0)
    assert table.schema.field("o0").type == pa.float64()


def test_enums_and_structs_are_the_users_own_classes(worker: Worker) -> None:
    place = pa.array(
        [
            {"city": "Rome", "since": datetime(2000, 1, 1, tzinfo=UTC)},
            {"city": "Oslo", "since": None},
        ]
    )
    kind, table = worker.call("level", {"level": ["low", "high"], "place": place})
    assert kind == ANSWER
    assert table["o0"].to_pylist() == ["high", "high"]
    assert [p["city"] for p in table["o1"].to_pylist()] == ["ROME", "OSLO"]
    assert table["e1"].null_count == 2


def test_frames(worker: Worker) -> None:
    for name in ("pandas", "polars"):
        kind, table = worker.call(name, {"x": [1.0, 2.5]})
        assert (kind, table["o0"].to_pylist()) == (ANSWER, [2.0, 5.0])
    assert worker.call("pandas", {"x": [1.0, None]})[1]["o0"].to_pylist() == [2.0, None]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("short", "resolver/wrong-length"),
        ("raising", "resolver/raised"),
        ("texts", "resolver/wrong-type"),
        ("unknown", "resolver/not-found"),
    ],
)
def test_calls_fail_as_a_whole_and_the_next_one_works(worker: Worker, name: str, code: str) -> None:
    kind, failed = worker.call(name, {"x": [1.0, 2.0]}, call_id=41)
    assert (kind, failed["code"]) == (FAILED, code)
    assert "secret" not in failed["message"]
    assert worker.call("polars", {"x": [1.0]}, call_id=42)[1]["o0"].to_pylist() == [2.0]


def test_rows_of_an_async_resolver_wait_together(worker: Worker) -> None:
    kind, table = worker.call("slow", {"x": [float(n) for n in range(200)]})
    assert kind == ANSWER
    assert table["e0"].to_pylist()[:2] == ["resolver/raised", None]
    assert table["o0"][199].as_py() == 200.0


def test_no_rows_and_bad_arguments(worker: Worker) -> None:
    assert worker.call("polars", {"x": pa.array([], pa.float64())})[1].num_rows == 0
    assert worker.call("polars", {"x": [1.0], "y": [1.0]})[1]["code"] == "resolver/wrong-arguments"
    send(worker.channel, CALL, struct.pack("<II", 0, 5), b"this is no stream")
    assert worker.answer(5)[1]["code"] == "worker/bad-arguments"


def test_instants_that_python_has_no_form_for_fail_their_call_alone(worker: Worker) -> None:
    far = pa.array([2**62], pa.timestamp("us", tz="UTC"))
    kind, failed = worker.call("y", {"x": [1.0], "at": far})
    assert (kind, failed["code"]) == (FAILED, "worker/bad-arguments")
    assert "OverflowError" in failed["message"]
    assert worker.call("y", {"x": [1.0], "at": _at(2013)})[1]["o0"].to_pylist() == [2.0]


def test_modules_come_from_memory_and_may_not_hide_others(fresh: Worker) -> None:
    kind, failed = fresh.hello({"json.py": ""}, [])
    assert (kind, failed["code"]) == (FAILED, "project/bad-module")
    assert fresh.end() == 1


@pytest.mark.parametrize(
    ("modules", "resolvers", "protocol", "code"),
    [
        ({"a.py": "1 / 0"}, [], PROTOCOL, "project/import-failed"),
        ({"a.py": "import nothing_like_this"}, [], PROTOCOL, "project/import-failed"),
        ({"a.py": "raise SystemExit"}, [], PROTOCOL, "project/import-failed"),
        ({"../a.py": ""}, [], PROTOCOL, "project/bad-module"),
        (MODULES, [_signature("missing", {}, [])], PROTOCOL, "resolver/not-found"),
        (MODULES, [_signature("y", X, [(FLOAT, False)])], PROTOCOL, "resolver/changed"),
        ({}, [], "creta.worker/2", "worker/protocol"),
        (None, [], PROTOCOL, "worker/malformed"),
    ],
)
def test_a_worker_that_cannot_start_says_why(
    fresh: Worker, modules: Any, resolvers: list[Any], protocol: str, code: str
) -> None:
    kind, failed = fresh.hello(modules, resolvers, protocol)
    assert (kind, failed["code"]) == (FAILED, code)
    assert fresh.end() == 1


@pytest.mark.parametrize(
    "bytes_",
    [
        struct.pack("<I", 0),
        struct.pack("<I", FRAME_BYTES_MAX + 1) + b"\x01",
        struct.pack("<IB", 1, 77),
        struct.pack("<IB", 1, CALL),
    ],
    ids=["empty", "too large", "unknown kind", "call before hello"],
)
def test_attack_malformed_frames_end_the_worker(fresh: Worker, bytes_: bytes) -> None:
    fresh.channel.sendall(bytes_)
    kind, body = receive(fresh.channel)
    assert (kind, json.loads(body)["code"]) == (FAILED, "worker/malformed")
    assert fresh.end() == 2


def test_attack_a_frame_that_is_cut_short_ends_the_worker(fresh: Worker) -> None:
    fresh.channel.sendall(struct.pack("<IB", 1000, HELLO) + b"{")
    fresh.channel.shutdown(socket.SHUT_WR)
    kind, body = receive(fresh.channel)
    assert (kind, json.loads(body)["code"]) == (FAILED, "worker/malformed")
    assert fresh.end() == 2


def test_a_server_that_goes_away_ends_the_worker(fresh: Worker) -> None:
    assert fresh.end() == 0
