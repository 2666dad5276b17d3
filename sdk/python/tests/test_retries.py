"""What clients send again, what they do not, and that a load counts once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from creta import CretaError, Feature, entity, event_time, feature, hours, key
from creta import _retries as retries
from creta._http import AsyncClient, Client, Target

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
WHERE = Target("https://creta.test", token="t")


@entity
class Flight:
    id: Feature[int] = key()
    departed: Feature[datetime] = event_time()
    delay: Feature[float] = feature()


FACTS = {"id": [1], "departed": [NOON], "delay": [2.5]}
REPORT = {"rows": 1, "accepted": 1, "quarantined": 0, "floored": 0, "position": 1} | {
    "ignored_columns": [],
    "warnings": [],
}
ROW = {"rows": 1, "as_of": ["2013-07-01T12:00:00Z"], "plan": "p", "columns": [
    {"feature": "Flight.delay", "type": "float", "values": [2.5], "source": "facts"}]}  # fmt: skip

Happening = httpx.Response | Exception


def busy(after: str = "1", status: int = 503) -> httpx.Response:
    problem = {"code": "busy/requests", "message": "too much to do"}
    return httpx.Response(status, json=problem, headers={"retry-after": after})


class Server:
    """Does what it is told, one thing after another, and then answers."""

    def __init__(self, *happenings: Happening) -> None:
        self.left = list(happenings)
        self.keys: list[str | None] = []
        self.bodies: list[bytes] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("idempotency-key"))
        self.bodies.append(request.content)
        if self.left:
            happening = self.left.pop(0)
            if isinstance(happening, Exception):
                raise happening
            return happening
        return httpx.Response(200, json=REPORT if request.url.path == "/v1/ingest" else ROW)


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that clients made, which take no time here."""
    pauses: list[float] = []
    now = [1000.0]

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    async def sleep_async(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr("creta._http.time.sleep", sleep)
    monkeypatch.setattr("creta._http.asyncio.sleep", sleep_async)
    monkeypatch.setattr(retries.time, "monotonic", lambda: now[0])
    return pauses


def load(server: Server, **options: str) -> None:
    client = Client(WHERE, httpx.MockTransport(server))
    client._session.reached = True
    client.ingest(Flight, FACTS, arrival=hours(0), **options)


def load_async(server: Server, **options: str) -> None:
    async def main() -> None:
        async with AsyncClient(WHERE, httpx.MockTransport(server)) as client:
            client._session.reached = True
            await client.ingest(Flight, FACTS, arrival=hours(0), **options)

    asyncio.run(main())


def ask(server: Server) -> None:
    client = Client(WHERE, httpx.MockTransport(server))
    client._session.reached = True
    client.query({Flight.id: 1}, [Flight.delay])


def ask_async(server: Server) -> None:
    async def main() -> None:
        async with AsyncClient(WHERE, httpx.MockTransport(server)) as client:
            client._session.reached = True
            await client.query({Flight.id: 1}, [Flight.delay])

    asyncio.run(main())


LOST = [
    httpx.ConnectError("no"),
    httpx.ReadError("no"),
    httpx.RemoteProtocolError("no"),
    httpx.WriteError("no"),
]


@pytest.mark.parametrize("send", [load, load_async])
def test_a_load_whose_answer_is_lost_is_sent_again_by_its_key(
    send: Callable[[Server], None], paused: list[float]
) -> None:
    server = Server(*LOST, busy(), busy("3", 429))
    send(server)
    assert len(server.keys) == 7
    assert len(set(server.keys)) == 1, "one key for one load"
    assert server.keys[0], "which it gave itself"
    assert len(set(server.bodies)) == 1
    assert all(0 < pause < 1 for pause in paused[:4]), paused
    assert 1 < paused[4] < 3 < paused[5], "no earlier than the server asks for"
    other = Server()
    send(other)
    assert other.keys[0] != server.keys[0], "another load has another"


@pytest.mark.parametrize("send", [load, load_async])
def test_a_key_that_is_given_is_used(send: Callable[..., None]) -> None:
    server = Server()
    send(server, idempotency_key="night-1")
    assert server.keys == ["night-1"]


@pytest.mark.parametrize("send", [ask, ask_async])
def test_a_question_is_asked_again_for_ten_seconds(
    send: Callable[[Server], None], paused: list[float]
) -> None:
    server = Server(*LOST, busy())
    send(server)
    assert (len(server.keys), server.keys[0]) == (6, None), "a question needs no key"
    stubborn = Server(*[busy("2") for _ in range(100)])
    paused.clear()
    with pytest.raises(CretaError) as refused:
        send(stubborn)
    assert (refused.value.code, len(paused)) == ("busy/requests", 4), paused
    assert 8 < sum(paused) < 10


def test_what_may_have_been_done_and_what_takes_its_time_are_not_sent_again(paused: list[float]) -> None:
    server = Server(busy(), httpx.ReadError("no"))
    client = Client(WHERE, httpx.MockTransport(server))
    client._session.reached = True
    for code in ("busy/requests", "http/no-answer"):
        with pytest.raises(CretaError) as refused:
            client.deploy([Flight])
        assert refused.value.code == code
    slow = Server(httpx.ReadTimeout("no"))
    with pytest.raises(CretaError, match="did not answer: ReadTimeout") as refused:
        load(slow, idempotency_key="night-1")
    assert "idempotency_key='night-1'" in (refused.value.help or ""), "how it is loaded again"
    nobody = Server(httpx.ConnectError("no"))
    with pytest.raises(CretaError, match="cannot be reached"):
        Client(WHERE, httpx.MockTransport(nobody)).query({Flight.id: 1}, [Flight.delay])
    assert (len(server.keys), len(slow.keys), len(nobody.keys), paused) == (2, 1, 1, [])


def test_a_load_by_key_is_taken_once_within_a_process_too() -> None:
    import creta

    local = creta.local([Flight])
    first = local.ingest(Flight, FACTS, arrival=hours(0), idempotency_key="a")
    again = local.ingest(Flight, FACTS, arrival=hours(0), idempotency_key="a")
    assert (again, first.accepted) == (first, 1)
    with pytest.raises(CretaError) as refused:
        local.ingest(Flight, FACTS | {"delay": [9.0]}, arrival=hours(0), idempotency_key="a")
    assert refused.value.code == "ingest/key-reused"
