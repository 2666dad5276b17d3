"""A worker process: imports a project's modules from memory and calls its resolvers for a server.

`python -m creta._worker --socket-fd N`, where N is an inherited, connected Unix socket. Protocol
`creta.worker/1`: frames of a length (u32, little-endian, of what follows), one byte of kind, a body.

- `Hello` (1, from the server, JSON): protocol, modules by path, resolvers with their types.
- `Ready` (2, JSON): python, pid. `Failed` (3, JSON): code, message, and for a call its id under `call`.
- `Call` (4): u32 resolver, u32 call id, Arrow IPC stream of one batch with one column per parameter.
- `Answer` (5): u32 call id, Arrow IPC stream with `o0`, `o1`, ..., the error codes of failed rows in `e0`,
`e1`, ..., and in `detail` what more is to say of them: an exception and its place, or the types.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any

from creta._errors import CretaError
from creta._lazy import pyarrow
from creta._memory import install
from creta._raised import Sources
from creta._resolver import resolver_info
from creta._resolvers import Bound, Failed, Value, bind
from creta._types import TypeSpec

PROTOCOL = "creta.worker/1"
FRAME_BYTES_MAX = 256 << 20
HELLO, READY, FAILED, CALL, ANSWER = 1, 2, 3, 4, 5


class Closed(Exception):
    """The server is gone, which is how a worker is told to end."""


class Malformed(Exception):
    """What came is not a frame of this protocol.

    Nothing after it can be trusted.
    """


def receive(channel: socket.socket) -> tuple[int, bytes]:
    """One frame: its kind and body.

    Memory grows with what arrives, not with what the length claims.
    """
    (length,) = struct.unpack("<I", _exactly(channel, 4, at_start=True))
    if not 1 <= length <= FRAME_BYTES_MAX:
        raise Malformed(f"a frame of {length} bytes")
    frame = _exactly(channel, length)
    return frame[0], frame[1:]


def _exactly(channel: socket.socket, count: int, at_start: bool = False) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = channel.recv(min(count - len(received), 1 << 20))
        if not piece:
            if at_start and not received:
                raise Closed
            raise Malformed("a frame that ends early")
        received += piece
    return bytes(received)


def send(channel: socket.socket, kind: int, *parts: bytes | memoryview) -> None:
    """One frame whose body is the parts in a row."""
    length = 1 + sum(len(part) for part in parts)
    channel.sendall(struct.pack("<IB", length, kind))
    for part in parts:
        channel.sendall(part)


def send_failed(channel: socket.socket, error: CretaError, call: int | None = None) -> None:
    """Why the worker cannot start, or why a call failed as a whole."""
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if call is not None:
        body["call"] = call
    send(channel, FAILED, json.dumps(body).encode())


def prepare(hello: dict[str, Any]) -> list[Bound]:
    """Imports the project's modules and finds its resolvers."""
    if hello.get("protocol") != PROTOCOL:
        raise CretaError("worker/protocol", f"this worker speaks `{PROTOCOL}`")
    names = install(hello["modules"])
    for name in sorted(names):
        try:
            importlib.import_module(name)
        except CretaError as error:
            raise CretaError("project/import-failed", f"importing `{name}` failed: {error.message}") from None
        except (Exception, SystemExit) as error:
            reason = f": {error}" if isinstance(error, ImportError) else ""
            kind = type(error).__name__
            raise CretaError("project/import-failed", f"importing `{name}` failed: {kind}{reason}") from None
    sources = Sources(hello["modules"])
    return [_find(signature, sources) for signature in hello["resolvers"]]


def _find(signature: dict[str, Any], sources: Sources) -> Bound:
    """A resolver by its signature.

    The server's types count; the user's own classes come from the annotations.
    """
    name, module = signature["name"], sys.modules.get(signature["module"])
    function: Any = getattr(module, name, None)
    if resolver_info(function) is None:
        raise CretaError("resolver/not-found", f"`{signature['module']}` has no resolver `{name}`")
    own = bind(function)
    return Bound(
        name,
        own.function,
        signature["mode"],
        signature["is_async"],
        _values(signature["inputs"], own.inputs),
        _values(signature["outputs"], own.outputs),
        sources,
    )


def _values(declared: Sequence[dict[str, Any]], own: Sequence[Value]) -> tuple[Value, ...]:
    if len(declared) != len(own):
        raise CretaError(
            "resolver/changed", "a resolver's parameters or results differ from what was deployed"
        )
    values: list[Value] = []
    for json_value, value in zip(declared, own, strict=True):
        spec = TypeSpec.from_json(json_value["type"])
        values.append(Value(value.name, value.type if value.type == spec else spec, json_value["optional"]))
    return tuple(values)


def answer(channel: socket.socket, resolvers: Sequence[Bound], body: bytes) -> None:
    """Runs one call and sends what came of it."""
    pa = pyarrow()

    from creta import _batches

    if len(body) < 8:
        raise Malformed("a call without its head")
    index, call_id = struct.unpack_from("<II", body)
    try:
        if index >= len(resolvers):
            raise CretaError("resolver/not-found", f"there is no resolver number {index}")
        try:
            with pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(body).slice(8))) as stream:
                batches = list(stream)
        except (pa.ArrowException, OSError, EOFError):
            raise CretaError("worker/bad-arguments", "the arguments are not an Arrow stream") from None
        if len(batches) != 1:
            raise CretaError(
                "worker/bad-arguments", f"the arguments are {len(batches)} batches instead of one"
            )
        outcome = _batches.call(resolvers[index], batches[0])
        frame = _encoded(outcome, batches[0].num_rows)
        if len(frame) + 5 > FRAME_BYTES_MAX:
            raise CretaError(
                "resolver/too-large", f"the answer of `{resolvers[index].name}` is too large for one frame"
            )
    except CretaError as error:
        send_failed(channel, error, call_id)
        return
    except Exception as error:  # Of values that Python has no form for: the call fails, the process goes on.
        kind = type(error).__name__
        message = f"resolver `{resolvers[index].name}` could not be called with these values: {kind}"
        send_failed(channel, CretaError("worker/bad-arguments", message), call_id)
        return
    send(channel, ANSWER, struct.pack("<I", call_id), memoryview(frame))


def _encoded(outcome: Any, rows: int) -> Any:
    pa = pyarrow()

    codes: list[str | None] = [None] * rows
    details: list[str | None] = [None] * rows
    for row, error in outcome.errors.items():
        codes[row] = error.code
        details[row] = error.detail if isinstance(error, Failed) else None
    arrays, names = list(outcome.columns), [f"o{n}" for n in range(len(outcome.columns))]
    arrays += [pa.array(codes, pa.string())] * len(outcome.columns)
    names += [f"e{n}" for n in range(len(outcome.columns))]
    if outcome.errors:
        arrays, names = [*arrays, pa.array(details, pa.string())], [*names, "detail"]
    batch = pa.RecordBatch.from_arrays(arrays, names=names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def serve(channel: socket.socket) -> int:
    """Speaks the protocol until the server closes the socket.

    Returns the exit code.
    """
    try:
        kind, body = receive(channel)
        if kind != HELLO:
            raise Malformed(f"a frame of kind {kind} instead of a hello")
        try:
            hello: Any = json.loads(body)
            resolvers = prepare(hello)
            pyarrow()  # Before the first call, which it would slow down.
        except CretaError as error:
            send_failed(channel, error)
            return 1
        except (ValueError, KeyError, TypeError):
            send_failed(channel, CretaError("worker/malformed", "the hello is not understood"))
            return 1
        ready = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "pid": os.getpid()}
        send(channel, READY, json.dumps(ready).encode())
        while True:
            kind, body = receive(channel)
            if kind != CALL:
                raise Malformed(f"a frame of kind {kind} instead of a call")
            answer(channel, resolvers, body)
    except Closed:
        return 0
    except Malformed as error:
        send_failed(channel, CretaError("worker/malformed", f"the worker received {error}"))
        return 2
    except (BrokenPipeError, ConnectionResetError):
        return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Takes over the inherited socket.

    User code may print: it goes to standard error, never into the protocol.
    """
    parser = argparse.ArgumentParser(prog="python -m creta._worker")
    parser.add_argument("--socket-fd", type=int, required=True)
    number: int = parser.parse_args(arguments).socket_fd
    channel = socket.socket(fileno=number)
    # Processes that user code starts must not hold the socket.
    channel.set_inheritable(False)
    with channel:
        return serve(channel)


if __name__ == "__main__":
    sys.exit(main())
