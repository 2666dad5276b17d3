"""The HTTP client against a server that answers as the interface says."""

from __future__ import annotations

import asyncio
import inspect
import io
import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from creta import (
    AsyncDatasets,
    Credentials,
    CretaError,
    Datasets,
    Feature,
    entity,
    event_time,
    feature,
    hours,
    key,
)
from creta._datasets import Operation
from creta._http import AsyncClient, Client, Target, target
from creta._wire import ARROW, dataset_request, rows_request

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


class Sky(Enum):
    FINE = "fine"
    ROUGH = "rough"


@entity
class Flight:
    id: Feature[int] = key()
    carrier: Feature[str] = feature()
    departed: Feature[datetime] = event_time()
    risk: Feature[float] = feature()
    sky: Feature[Sky] = feature()
    delay: Feature[float | None] = feature()


ANSWER = {
    "rows": 2,
    "as_of": ["2013-07-01T12:00:00Z", "2013-07-01T12:00:00Z"],
    "plan": "sha256:00",
    "columns": [
        {"feature": "Flight.risk", "type": "float", "values": ["NaN", None], "source": "resolver:risk",
         "states": {"1": "error"},
         "errors": {"1": {"code": "resolver/raised", "message": "it raised `KeyError`"}}},
        {"feature": "Flight.sky", "type": "Sky", "values": ["rough", None], "source": "facts",
         "states": {"1": "missing"}, "ages_us": [60_000_000, None]},
        {"feature": "Flight.delay", "type": "float", "values": [None, 2.5], "source": "facts",
         "states": {"0": "null"}},
    ],
}  # fmt: skip


class Server:
    """Answers, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.tokens = 0
        self.refuse_first = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if request.url.path == "/v1/token":
            self.tokens += 1
            assert json.loads(request.content) == {"client_id": "me", "client_secret": "hush"}
            return httpx.Response(200, json={"access_token": f"t{self.tokens}", "expires_in": 3600})
        if self.refuse_first and request.headers["authorization"] == "Bearer t1":
            return httpx.Response(401, json={"code": "access/token-expired", "message": "sign in again"})
        if request.url.path == "/v1/query":
            body = json.loads(request.content)
            if "Flight.nothing" in body["outputs"]:
                problem = {
                    "code": "not-found/feature",
                    "message": "no `Flight.nothing`",
                    "help": "did you mean risk?",
                }
                return httpx.Response(404, json=problem)
            columns = [
                {**c, "values": c["values"]} for c in ANSWER["columns"] if c["feature"] in body["outputs"]
            ]  # type: ignore[union-attr,index]
            return httpx.Response(200, json={**ANSWER, "columns": columns})
        if request.url.path == "/v1/training-sets":
            spine = pa.ipc.open_stream(io.BytesIO(request.content)).read_all()
            table = spine.append_column("Flight.risk", pa.array([0.5] * spine.num_rows))
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            return httpx.Response(200, content=sink.getvalue().to_pybytes(), headers={"content-type": ARROW})
        if request.url.path == "/v1/ingest":
            rows = pa.ipc.open_stream(io.BytesIO(request.content)).read_all().num_rows
            report = {"rows": rows, "accepted": rows, "quarantined": 0, "floored": 0, "position": 1}
            return httpx.Response(200, json={**report, "ignored_columns": [], "warnings": ["at least once"]})
        return httpx.Response(502, text="<html>bad gateway</html>")


WHERE = Target("https://creta.test", credentials=Credentials("me", "hush"))


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Client:
    return Client(WHERE, httpx.MockTransport(server))


def test_tokens_are_bound_to_a_key_where_the_account_takes_no_others(
    client: Client, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Native:
        @staticmethod
        def make_key() -> str:
            return "key"

        @staticmethod
        def prove_possession(key: str, method: str, url: str, token: str | None) -> str:
            return f"{key} {method} {url} {token}"

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/token" and "dpop" not in request.headers:
            return httpx.Response(401, json={"code": "auth/no-proof", "message": "with proof alone"})
        return server(request)

    monkeypatch.setattr("creta._local.native_module", lambda: Native)
    client = Client(WHERE, httpx.MockTransport(answer))
    client.query({Flight.id: 1}, [Flight.delay])
    asked, query = server.requests
    assert asked.headers["dpop"] == "key POST https://creta.test/v1/token None"
    assert query.headers["authorization"] == "DPoP t1"
    assert query.headers["dpop"] == "key POST https://creta.test/v1/query t1"


def test_cells_say_why_there_is_no_value(client: Client, server: Server) -> None:
    rows = client.query(
        {Flight.carrier: ["UA", "AA"], Flight.id: 1}, [Flight.risk, Flight.sky, Flight.delay], as_of=NOON
    )
    assert json.loads(server.requests[-1].content) == {
        "inputs": {"Flight.carrier": ["UA", "AA"], "Flight.id": [1, 1]},
        "outputs": ["Flight.risk", "Flight.sky", "Flight.delay"],
        "as_of": "2013-07-01T12:00:00Z",
    }
    assert len(rows) == 2
    assert rows[0][Flight.sky].value is Sky.ROUGH
    assert rows[0][Flight.sky].age == timedelta(minutes=1)
    assert rows[0][Flight.risk].value != rows[0][Flight.risk].value  # NaN stays NaN.
    assert rows[0][Flight.delay].value is None
    assert rows[1][Flight.delay].get(0.0) == 2.5
    with pytest.raises(CretaError) as missing:
        print(rows[1][Flight.sky].value)
    assert missing.value.code == "cell/missing"
    assert rows[1][Flight.sky].get() is None
    with pytest.raises(CretaError, match="it raised `KeyError`"):
        print(rows[1][Flight.risk].value)
    assert rows.to_arrow()["Flight.sky"].to_pylist() == ["rough", None]
    assert rows.to_polars().shape == (2, 4)
    assert "rough" in rows._repr_html_()
    with pytest.raises(CretaError, match="was not asked for"):
        rows[0][Flight.carrier]


def test_single_values_give_one_row(client: Client) -> None:
    row = client.query(
        {Flight.carrier: "UA"}, [Flight.delay], as_of="2013-07-01T12:00:00Z", max_age={Flight.delay: hours(1)}
    )
    assert (row.as_of, row.features) == (NOON, ("Flight.delay",))
    assert "Flight.delay: null" in repr(row)


def test_problems_are_raised_as_the_server_says_them(client: Client) -> None:
    with pytest.raises(CretaError) as refused:
        client.query({Flight.id: 1}, ["Flight.nothing"])
    assert (refused.value.code, refused.value.help) == ("not-found/feature", "did you mean risk?")
    with pytest.raises(CretaError, match="status 502"):
        client.verify()


def test_a_token_is_asked_for_once_and_again_when_it_is_refused(client: Client, server: Server) -> None:
    for _ in range(3):
        client.query({Flight.id: 1}, [Flight.delay])
    assert server.tokens == 1
    server.refuse_first = True
    client.query({Flight.id: 1}, [Flight.delay])
    assert server.tokens == 2


def _spine() -> dict[str, list[Any]]:
    return {"who": ["UA", "AA"], "asked": [NOON, NOON], "note": ["x", "y"]}


@pytest.mark.parametrize(
    "make", [pd.DataFrame, pl.DataFrame, pa.table, dict], ids=["pandas", "polars", "arrow", "dict"]
)
def test_s21_a_training_set_keeps_the_spine(
    client: Client, server: Server, make: Callable[[Any], Any]
) -> None:
    data = client.training_set(
        make(_spine()), as_of="asked", features=[Flight.risk], inputs={Flight.carrier: "who"}
    )
    sent = pa.ipc.open_stream(io.BytesIO(server.requests[-1].content)).read_all()
    assert sent.column_names == ["who", "asked", "note"]
    assert dict(server.requests[-1].url.params) == {
        "features": "Flight.risk", "as_of": "asked", "inputs": '{"Flight.carrier": "who"}',
    }  # fmt: skip
    assert data.to_arrow().column_names == ["who", "asked", "note", "Flight.risk"]
    assert data.to_pandas()["who"].tolist() == ["UA", "AA"]
    assert data.to_polars().height == len(data) == 2
    assert repr(data).startswith("<Dataset of 2 rows and 1 features in ")


def test_s15_naive_spines_and_frames_are_refused(client: Client) -> None:
    frame = pd.DataFrame({"Flight.carrier": ["UA"], "as_of": [datetime(2013, 7, 1)]})
    with pytest.raises(CretaError, match="column `as_of` has no time zone"):
        client.training_set(frame, features=[Flight.risk])
    with pytest.raises(CretaError, match="`departed` has no time zone"):
        client.ingest(Flight, {"id": [1], "departed": [datetime(2013, 7, 1)]}, arrival=hours(0))
    with pytest.raises(CretaError, match="`as_of` has no time zone"):
        client.query({Flight.id: 1}, [Flight.risk], as_of=datetime(2013, 7, 1))


def test_facts_say_when_they_were_known(client: Client, server: Server) -> None:
    report = client.ingest(Flight, {"id": [1], "departed": [NOON]}, arrival=hours(6))
    assert (report.accepted, report.warnings) == (1, ("at least once",))
    assert dict(server.requests[-1].url.params) == {
        "entity": "Flight", "event_time": "departed", "arrival_delay": "6h",
    }  # fmt: skip
    client.ingest(
        Flight,
        {"id": [1], "left": [NOON], "airline": ["UA"], "gone": [True]},
        arrival=hours(0),
        retract="gone",
        columns={Flight.departed: "left", Flight.carrier: "airline"},
    )
    sent = dict(server.requests[-1].url.params)
    assert json.loads(sent.pop("columns")) == {"departed": "left", "carrier": "airline"}
    assert sent == {"entity": "Flight", "event_time": "left", "arrival_delay": "0s", "retract": "gone"}
    with pytest.raises(CretaError, match="has no column `known`"):
        client.ingest(Flight, {"id": [1], "departed": [NOON]}, arrival="known")


def test_the_async_client_does_the_same(server: Server) -> None:
    async def ask() -> float | None:
        async with AsyncClient(WHERE, httpx.MockTransport(server)) as client:
            row = await client.query({Flight.id: 1}, [Flight.delay], as_of=NOON)
            data = await client.training_set(_spine(), as_of="asked", features=[Flight.risk])
            assert len(data) == 2
            return row[Flight.delay].value

    assert asyncio.run(ask()) is None


ERRORS: list[tuple[Exception, str, str]] = [
    (httpx.ConnectError("no"), "http/unreachable", "check address"),
    (httpx.ConnectTimeout("no"), "http/unreachable", "check address"),
    (httpx.ReadTimeout("no"), "http/no-answer", "may be stored"),
    (httpx.RemoteProtocolError("no"), "http/no-answer", "may be stored"),
    (httpx.WriteError("no"), "http/no-answer", "may be stored"),
]


@pytest.mark.parametrize(("error", "code", "help"), ERRORS)
def test_an_unanswered_load_says_whether_it_may_be_stored_and_is_sent_once(
    error: Exception, code: str, help: str
) -> None:
    sent: list[str] = []

    def fail(request: httpx.Request) -> httpx.Response:
        sent.append(request.url.path)
        raise error

    client = Client(Target("https://creta.test", token="t"), httpx.MockTransport(fail))
    with pytest.raises(CretaError) as refused:
        client.ingest(Flight, {"id": [1], "departed": [NOON]}, arrival=hours(0))
    assert (refused.value.code, sent) == (code, ["/v1/ingest"])
    assert help in (refused.value.help or "")
    with pytest.raises(CretaError) as refused:
        client.query({Flight.id: 1}, [Flight.delay])
    assert refused.value.code == code
    assert "stored" not in (refused.value.help or "")


def test_a_certificate_that_is_not_trusted_is_named() -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        cause = ssl.SSLCertVerificationError("certificate verify failed")
        cause.verify_message = "self-signed certificate"
        raise httpx.ConnectError("no") from cause

    client = Client(Target("https://creta.test", token="t"), httpx.MockTransport(fail))
    with pytest.raises(CretaError, match="is not trusted: self-signed certificate") as refused:
        client.query({Flight.id: 1}, [Flight.delay])
    assert "ca_file" in (refused.value.help or "")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff"])
def test_answers_that_are_not_cretas_are_refused(body: bytes) -> None:
    where = Target("https://creta.test", token="t")
    client = Client(where, httpx.MockTransport(lambda _: httpx.Response(200, content=body)))
    for ask in (
        lambda: client.query({Flight.id: 1}, [Flight.delay]),
        lambda: client.training_set(_spine(), as_of="asked", features=[Flight.risk]),
        lambda: client.ingest(Flight, {"id": [1], "departed": [NOON]}, arrival=hours(0)),
        lambda: client.check([Flight]),
    ):
        with pytest.raises(CretaError) as refused:
            ask()
        assert refused.value.code == "http/unexpected"
    signing_in = Client(WHERE, httpx.MockTransport(lambda _: httpx.Response(200, content=b"{}")))
    with pytest.raises(CretaError, match="no answer of Creta"):
        signing_in.verify()


def test_s21_a_training_set_that_was_cut_off_is_refused() -> None:
    def cut(request: httpx.Request) -> httpx.Response:
        spine = pa.ipc.open_stream(io.BytesIO(request.content)).read_all()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, spine.schema) as writer:
            writer.write_table(spine.slice(0, 1))
        return httpx.Response(200, content=sink.getvalue().to_pybytes())

    client = Client(Target("https://creta.test", token="t"), httpx.MockTransport(cut))
    with pytest.raises(CretaError, match="has 1 of 2 rows"):
        client.training_set(_spine(), as_of="asked", features=[Flight.risk])


def test_check_lists_mistakes_of_definitions_and_raises_the_rest() -> None:
    answer = httpx.Response(200, json={})
    client = Client(Target("https://creta.test", token="t"), httpx.MockTransport(lambda _: answer))
    assert client.check([Flight]) == []
    problems = [{"code": "definition/a", "message": "a"}, {"code": "definition/b", "message": "b"}]
    answer = httpx.Response(422, json={**problems[0], "problems": problems})
    assert [one.code for one in client.check([Flight])] == ["definition/a", "definition/b"]
    assert [one.code for one in client.check("/nowhere")] == ["project/no-config"]
    answer = httpx.Response(403, json={"code": "access/denied", "message": "no"})
    with pytest.raises(CretaError, match="no"):
        client.check([Flight])


def test_a_refused_token_that_was_given_stays_the_servers_message() -> None:
    problem = {"code": "auth/token-expired", "message": "sign in again"}
    transport = httpx.MockTransport(lambda _: httpx.Response(401, json=problem))
    client = Client(Target("https://creta.test", token="t"), transport)
    for _ in range(2):
        with pytest.raises(CretaError, match="sign in again"):
            client.verify()


def test_many_requests_at_once_ask_for_one_token(server: Server) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        return server(request)

    async def ask() -> None:
        async with AsyncClient(WHERE, httpx.MockTransport(answer)) as client:
            await asyncio.gather(*(client.query({Flight.id: 1}, [Flight.delay]) for _ in range(20)))
            assert server.tokens == 1
            server.refuse_first = True
            await asyncio.gather(*(client.query({Flight.id: 1}, [Flight.delay]) for _ in range(20)))
            assert server.tokens == 2

    asyncio.run(ask())


def test_both_clients_have_the_same_methods() -> None:
    def public(cls: type) -> dict[str, list[str]]:
        members = {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}
        return {
            name: [] if isinstance(member, property) else list(inspect.signature(member).parameters)
            for name, member in members.items()
        }

    assert public(Client) == public(AsyncClient)
    assert public(Datasets) == public(AsyncDatasets)


def test_what_is_done_with_datasets_goes_to_their_routes() -> None:
    def sent(name: str, **options: Any) -> tuple[str, str, Any]:
        request = dataset_request(Operation(name, options))
        return request["method"], request["url"], request.get("params") or request.get("content")

    assert sent("list") == ("GET", "/v1/datasets", None)
    assert sent("describe", dataset="delays@2") == ("GET", "/v1/datasets/delays@2", None)
    assert sent("describe", dataset="../x?y") == ("GET", "/v1/datasets/..%2Fx%3Fy", None), "a name stays one"
    assert sent("retire", dataset="delays@2") == ("POST", "/v1/datasets/delays@2/retire", None)
    assert sent("rename", dataset="a", to="b") == ("POST", "/v1/datasets/a/rename", b'{"to": "b"}')
    profile = sent("profile", dataset="a", columns=["n"], preview=3)
    assert profile == ("GET", "/v1/datasets/a/profile", {"preview": "3", "columns": '["n"]'})
    compared = sent("diff", dataset="a@1", **{"with": "a@2"}, columns=None)
    assert compared == ("GET", "/v1/datasets/a@1/diff", {"with": "a@2"})
    rows = rows_request("a@1", ["Flight.delay"], True)
    assert (rows["url"], rows["params"]) == (
        "/v1/datasets/a@1/rows",
        {"states": "true", "columns": '["Flight.delay"]'},
    )


def test_values_that_the_definitions_here_do_not_have_are_said(client: Client) -> None:
    ANSWER["columns"][1]["values"][0] = "stormy"  # type: ignore[index]
    try:
        with pytest.raises(CretaError, match=r"`Flight\.sky` that its type `Sky` here does not"):
            client.query({Flight.id: [1, 2]}, [Flight.sky]).to_arrow()
        assert client.query({Flight.id: [1, 2]}, ["Flight.sky"])[0]["Flight.sky"].value == "stormy"
    finally:
        ANSWER["columns"][1]["values"][0] = "rough"  # type: ignore[index]


def test_columns_are_mapped_by_feature(client: Client) -> None:
    with pytest.raises(CretaError, match="maps a `str`, which is no feature"):
        client.ingest(Flight, {"id": [1]}, columns={"Flight.carrier": "airline"})  # type: ignore[dict-item]


def test_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "profiles.toml"
    monkeypatch.setenv("CRETA_PROFILE_FILE", str(file))
    with pytest.raises(CretaError, match="no profile file"):
        target(None, None, None, None, None)
    (tmp_path / "secret").write_text("hush\n")
    (tmp_path / "secret").chmod(0o600)
    file.write_text(
        '[default]\nurl = "https://creta.test/"\nclient_id = "me"\nclient_secret_file = "secret"\n'
    )
    where = target(None, None, None, None, None)
    assert (where.url, where.credentials) == ("https://creta.test", Credentials("me", "hush"))
    assert "hush" not in repr(where) + repr(where.credentials)
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(CretaError, match="others on this machine can read") as exposed:
        target(None, None, None, None, None)
    assert exposed.value.code == "profile/secret-exposed"
    with pytest.raises(CretaError, match="is no file of certificates"):
        Client(Target("https://creta.test", ca_file=str(file)))
    with pytest.raises(CretaError, match="there is no profile `other`"):
        target("other", None, None, None, None)


def test_attack_secrets_never_travel_in_the_clear() -> None:
    with pytest.raises(CretaError, match="is not an https address"):
        target(None, "http://creta.example", "token", None, None)
    assert target(None, "http://127.0.0.1:8080", "token", None, None).url == "http://127.0.0.1:8080"
