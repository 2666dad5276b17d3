"""Questions of the demo, as a program that uses Creta asks them: `demo_questions.py CREDENTIALS`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "flights"))

import creta
import features.fleet  # noqa: F401  relations of flights lead to it
from features.flights import Flight

NOON = "2013-07-01T12:00:00Z"
QUESTION = {Flight.carrier: "UA", Flight.origin: "EWR", Flight.tailnum: "N33284", Flight.distance: 1_400.0}
FEATURES = [
    Flight.risk,
    Flight.sky,
    Flight.expected_delay,
    Flight.operator.name,
    Flight.operator.delay_mean[creta.days(1)],
    Flight.departs_from.departures[creta.hours(6)],
    Flight.weather.wind_speed,
]


def say(text: str = "") -> None:
    print(text, flush=True)


def show(row: Any) -> None:
    """Value, age and source of each answer."""
    say(f"  {'feature':<36} {'value':<22} {'age':<10} source")
    for which in FEATURES:
        cell = row[which]
        value = cell.value if cell.state == "value" else cell.state
        age = "" if cell.age is None else str(cell.age)
        say(f"  {which!s:<36} {value!s:<22} {age:<10} {cell.source}")


def refused(title: str, ask: Callable[[], object]) -> None:
    """Asks what must be refused, and shows how."""
    say(f"\n{title}")
    try:
        ask()
    except creta.CretaError as error:
        say("\n".join(f"  {line}" for line in str(error).splitlines()))
    else:
        raise SystemExit("demo: this should have been refused")


def curl(credentials: dict[str, str]) -> None:
    """The same over plain HTTPS, with nothing but curl."""
    url, ca = credentials["url"], credentials["ca"]
    secret = {"client_id": credentials["client_id"], "client_secret": credentials["client_secret"]}
    token = json.loads(post(f"{url}/v1/token", ca, secret))["access_token"]
    body = {
        "inputs": {str(which): [value] for which, value in QUESTION.items()},
        "outputs": [str(Flight.risk), str(Flight.weather.wind_speed)],
        "as_of": NOON,
    }
    say("\n$ curl --cacert .demo/data/tls/ca.pem -H 'authorization: Bearer ...' \\")
    say(f"    -H 'content-type: application/json' -d '{json.dumps(body)}' {url}/v1/query")
    answer = json.loads(post(f"{url}/v1/query", ca, body, token))
    say("\n".join(f"  {line}" for line in json.dumps(answer, indent=2).splitlines()))


def post(url: str, ca: str, body: object, token: str | None = None) -> str:
    """What comes back. Secrets go in by standard input: other users see the arguments of processes."""
    lines = [
        "silent",
        "show-error",
        f'cacert = "{ca}"',
        f'url = "{url}"',
        'header = "content-type: application/json"',
    ]
    if token is not None:
        lines.append(f'header = "authorization: Bearer {token}"')
    lines.append(f"data = {json.dumps(json.dumps(body))}")
    command = ["curl", "--config", "-"]
    done = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True)
    return done.stdout


def main(file: Path) -> None:
    credentials: dict[str, str] = json.loads(file.read_text())
    with creta.connect() as server:
        say(f"What is known about a flight of United from Newark, as of {NOON}?")
        show(server.query(QUESTION, FEATURES, as_of=NOON))
        say("\nAnd now? No facts are newer than 2013, so windows are empty.")
        show(server.query(QUESTION, FEATURES))
        say("\nHow is the risk computed?")
        explanation = server.explain(QUESTION, [Flight.risk])
        say("\n".join(f"  {line}" for line in str(explanation).rstrip().splitlines()))
        curl(credentials)

        say("\nHow mistakes and attempts are answered:")
        stranger = creta.connect(url=credentials["url"], token="not-a-token", ca_file=credentials["ca"])  # noqa: S106
        refused("A wrong token", lambda: stranger.query(QUESTION, [Flight.risk]))
        refused(
            "A feature of another tenant: for acme it does not exist",
            lambda: server.query({"Customer.id": 7}, ["Customer.loyalty"]),
        )
        refused(
            "A time without a zone",
            lambda: server.query(QUESTION, [Flight.risk], as_of="2013-07-01T12:00:00"),
        )
        refused("A misspelt name", lambda: server.query(QUESTION, ["Flight.rsik"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
