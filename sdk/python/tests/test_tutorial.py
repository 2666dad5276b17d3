"""The tutorial, done as written: its files are made and its commands run, in order, in an empty folder."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs" / "guide" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "127.0.0.1:7443"


def find_binary() -> str | None:
    return os.environ.get("CRETA_BINARY") or shutil.which("creta")


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


class Reader:
    """Somebody who follows the tutorial."""

    def __init__(self, folder: Path, binary: str) -> None:
        self.folder = folder
        self.address = free_address()
        self.servers: list[subprocess.Popen[bytes]] = []
        commands = folder / "bin"
        commands.mkdir()
        (commands / "creta").symlink_to(binary)
        (commands / "python").symlink_to(sys.executable)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRETA_")}
        self.environment = kept | {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CRETA_PYTHON": sys.executable,
            "CRETA_PROFILE_FILE": str(folder / "profiles.toml"),
        }

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, command: str) -> str:
        command = command.replace(ADDRESS, self.address)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, command: str) -> None:
        log = (self.folder / "server.log").open("wb")
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
        )
        self.servers.append(server)
        host, port = self.address.split(":")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert server.poll() is None, (self.folder / "server.log").read_text()
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the server did not listen within a minute")

    def stop(self) -> None:
        for server in self.servers:
            server.terminate()
            server.wait(timeout=30)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    binary = find_binary()
    if binary is None:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    reader = Reader(tmp_path, binary)
    yield reader
    reader.stop()


def test_the_tutorial_works_as_written(reader: Reader) -> None:
    outputs: dict[str, str] = {}
    for kind, info, body in BLOCK.findall(TUTORIAL.read_text()):
        if kind == "python":
            reader.write(info.strip().removeprefix("file="), body)
            continue
        for line in body.splitlines():
            command = line.removeprefix("$ ")
            if info.strip() == "background":
                reader.start(command)
            else:
                outputs[command] = reader.run(command)
    verify = outputs["creta verify"]
    assert re.search(r"verify: compared [\d,]+, differences 0$", verify, re.MULTILINE), verify
    # What the training script printed is what the server answers.
    printed = re.search(r"spent in thirty days: ([\d.]+) loyalty: ([\d.]+)", outputs["python train.py"])
    assert printed is not None
    online = next(text for command, text in outputs.items() if command.startswith("creta query"))
    for value in printed.groups():
        assert value in online, online
