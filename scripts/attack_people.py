"""Attacks by people on people: `attack_people.py CRETA ATTACK`. Called by `attack.py`, which prints it.

The demo has no identity provider, so that each attack is against a small server of its own, with a provider
on a loopback address.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from sign_in_world import World

NEED = "Answers requests of the data teams and reads their policies"
REASON = "Look into why last night's load of payments was refused"


def refusal(world: World, start: int, action: str) -> tuple[str, str]:
    """The log's entry of a refusal, and the commitment that it names."""
    for entry in world.entries(start):
        if entry["entry"]["action"] == action:
            commitment = str(entry["entry"].get("commitment"))
            return f"entry {entry['index']} ({action}, {commitment})", commitment
    return "no entry", "none"


def size(world: World) -> int:
    return int(world.ask("audit", "show", "--limit", "1", "--profile", "admin")["size"])


def self_approval(world: World) -> dict[str, Any]:
    """A person approves their own request with another account of theirs."""
    own, other = world.sign_in("ana", "ana"), world.sign_in("ana-lead", "ana-lead")
    human = ("--same-human-as", own, "--profile", "admin")
    world.creta("person", "assign", other, "--role", "security-lead", "--need", NEED, *human)
    asked = ("access", "request", "--role", "operator", "--ticket", "OPS-1234", "--reason", REASON)
    request = world.ask(*asked, "--profile", "ana")["request"]
    start = size(world)
    says = world.creta("access", "approve", request, "--profile", "ana-lead", fails=True)
    state = world.ask("access", "show", request, "--profile", "ana")["state"]
    if state != "open":
        raise SystemExit(f"the request is {state}")
    # Somebody else can: it is not that nobody may.
    lead = world.sign_in("ben", "ben")
    world.creta("person", "assign", lead, "--role", "security-lead", "--profile", "admin", "--need", NEED)
    entry, commitment = refusal(world, start, "access.refused")
    world.creta("access", "approve", request, "--profile", "ben")
    return {"says": problem(says), "commitment": commitment, "entry": entry}


def stolen_session(world: World) -> dict[str, Any]:
    """A session's file is copied to another machine; its key is not to be had there."""
    world.sign_in("ana", "ana")
    world.sign_in("mallory", "mallory")
    kept, key = world.session("ana"), world.session("mallory")["key"]
    path, body = "/v1/sessions/renew", {"session": kept["session"], "renewal": kept["renewal"]}
    own = {"dpop": world.proof(kept["key"], "POST", path)}
    token = str(world.send("POST", path, own, body)[1]["access_token"])
    start, lines = size(world), []
    attempts = [
        ("the token alone", "GET", "/v1/me", {"authorization": f"Bearer {token}"}, None),
        (
            "the token, another key",
            "GET",
            "/v1/me",
            {"authorization": f"DPoP {token}", "dpop": world.proof(key, "GET", "/v1/me", token)},
            None,
        ),
        ("its renewal, another key", "POST", path, {"dpop": world.proof(key, "POST", path)}, body),
    ]
    for how, method, where, headers, sent in attempts:
        status, answer = world.send(method, where, headers, sent)
        if status != 401:
            raise SystemExit(f"{how} was answered with {status}")
        lines.append(f"{how}: {status} {answer.get('code')}: {answer.get('message')}")
    proven = {"authorization": f"DPoP {token}", "dpop": world.proof(kept["key"], "GET", "/v1/me", token)}
    if world.send("GET", "/v1/me", proven)[0] != 200:
        raise SystemExit("the session's own key is refused too")
    entry, commitment = refusal(world, start, "proof.refused")
    return {"says": "\n".join(lines), "commitment": f"{commitment}, CH-17", "entry": entry}


def problem(complained: str) -> str:
    lines = [line for line in complained.splitlines() if "error[" in line or line.startswith("  help")]
    return "\n".join(line[line.find("error[") :] if "error[" in line else line for line in lines)


ATTACKS = {"self-approval": self_approval, "stolen-session": stolen_session}


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), Path(sys.argv[1]), "development")
        try:
            print(json.dumps(ATTACKS[sys.argv[2]](world)))
        finally:
            world.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
