"""Stands in for the real worker and misbehaves as the resolver's name says. Standard library only.

Its answers are prepared by the test: `modules` of the hello maps the length of a call to the answer, in base64.
"""

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import time

HELLO, READY, FAILED, CALL, ANSWER = 1, 2, 3, 4, 5
channel = socket.socket(fileno=int(sys.argv[sys.argv.index("--socket-fd") + 1]))


def receive():
    head = exactly(5)
    length, kind = struct.unpack("<IB", head)
    return kind, exactly(length - 1)


def exactly(count):
    data = b""
    while len(data) < count:
        piece = channel.recv(count - len(data))
        if not piece:
            sys.exit(0)
        data += piece
    return data


def send(kind, body):
    channel.sendall(struct.pack("<IB", len(body) + 1, kind) + body)


def leaks():
    """What a worker must not have inherited."""
    found = []
    if set(os.environ) - {"PYTHONPATH", "LC_CTYPE"}:
        found.append("environment")
    if os.listdir("."):
        found.append("folder")
    own = {0, 1, 2, channel.fileno()}
    for fd in range(64):
        try:
            os.fstat(fd)
        except OSError:
            continue
        if fd not in own:
            found.append("descriptor")
    if any(os.readlink(f"/proc/self/fd/{fd}") != "/dev/null" for fd in (0, 1, 2)):
        found.append("stdio")
    return found


kind, body = receive()
hello = json.loads(body)
assert kind == HELLO and hello["protocol"] == "creta.worker/1"
names = [resolver["name"] for resolver in hello["resolvers"]]
if "bad_import" in names:
    send(FAILED, json.dumps({"code": "project/import-failed", "message": "no module named `nope`\n"}).encode())
    sys.exit(1)
if "dies_at_start" in names:
    sys.exit(3)
send(READY, json.dumps({"python": "3", "pid": os.getpid()}).encode())

calls = 0
while True:
    kind, body = receive()
    assert kind == CALL
    calls += 1
    index, call_id = struct.unpack_from("<II", body)
    name = names[index]
    answer = hello["modules"].get(str(len(body)), "")
    if name == "sleeps":
        time.sleep(600)
    elif name == "crashes":
        os._exit(9)
    elif name == "sleeps_once" and calls == 1 and not os.path.exists(hello["modules"]["marker"]):
        open(hello["modules"]["marker"], "w").close()
        time.sleep(600)
    elif name == "starts_a_process":
        child = subprocess.Popen(["/bin/sleep", "600"])
        with open(hello["modules"]["marker"], "w") as marker:
            marker.write(f"{os.getpid()} {child.pid}")
        send(ANSWER, struct.pack("<I", call_id) + base64.b64decode(answer))
    elif name == "lies_about_length":
        channel.sendall(struct.pack("<IB", 0xFFFFFFFF, ANSWER))
        time.sleep(600)
    elif name == "pickles":
        send(ANSWER, struct.pack("<I", call_id) + b"\x80\x04cposix\nsystem\n(S'touch /tmp/pwned'\ntR.")
    elif name == "answers_another_call":
        send(ANSWER, struct.pack("<I", call_id + 1) + base64.b64decode(answer))
    elif name == "speaks_out_of_turn":
        send(READY, b"{}")
    elif name == "refuses":
        send(FAILED, json.dumps({"call": call_id, "code": "resolver/too-large", "message": "hunter2"}).encode())
    elif name == "refuses_rudely":
        send(FAILED, json.dumps({"call": call_id, "code": "hunter2 was the value", "message": ""}).encode())
    elif name == "raises_once":
        send(ANSWER, struct.pack("<I", call_id) + base64.b64decode(answer if calls > 1 else hello["modules"]["first"]))
    elif name == "looks_around" and (found := leaks()):
        send(FAILED, json.dumps({"call": call_id, "code": "leak/" + "-".join(found)}).encode())
    else:
        send(ANSWER, struct.pack("<I", call_id) + base64.b64decode(answer))
