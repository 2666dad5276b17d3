"""Requests as they go over HTTP, and answers as they come."""

from __future__ import annotations

import io
import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from creta._answers import rows_dropped
from creta._datasets import Operation
from creta._errors import CretaError
from creta._export import Definitions, canonical, export_project
from creta._guards import is_items, is_table
from creta._lazy import pyarrow

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"


def read_json(response: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer; problems are raised."""
    raise_problem(response)
    try:
        answer: Any = response.json()
    except ValueError:
        raise unexpected(response) from None
    if not is_table(answer):
        raise unexpected(response)
    return dict(answer)


def unexpected(response: httpx.Response) -> CretaError:
    """The error for an answer that is none of Creta's, as something on the way may give."""
    return CretaError(
        "http/unexpected",
        f"the server answered with status {response.status_code} and something that is no answer of Creta",
        help="check that the address is a Creta server's, and what stands between",
    )


def raise_problem(response: httpx.Response) -> None:
    """Raises what the server refused."""
    if response.is_success:
        return
    try:
        problem: Any = response.json()
        problems: Any = problem.get("problems", problem) if is_table(problem) else problem
        listed = problems if is_items(problems) else [problems]
        errors = [CretaError.from_problem(one) for one in listed]
    except (ValueError, AttributeError, KeyError, TypeError):
        errors = []
    if not errors:
        raise unexpected(response)
    errors[0].others = tuple(errors[1:])
    raise errors[0]


def arrow_body(table: pa.Table) -> bytes:
    arrow = pyarrow()

    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def training_params(request: dict[str, Any]) -> dict[str, str]:
    known: Any = request.get("known_as_of")
    params = {"features": ",".join(request["features"]), "as_of": request["as_of"]}
    if known is not None:
        params["known_as_of"] = known["column"] if is_table(known) else str(known)
    if "inputs" in request:
        params["inputs"] = json.dumps(request["inputs"])
    if request.get("states"):
        params["states"] = "true"
    if "sample" in request:
        params["sample"] = json.dumps(request["sample"])
    if "required" in request:
        params["required"] = ",".join(request["required"])
    return params


def audit_request(request: dict[str, Any], labels: dict[str, str | None], spine: pa.Table) -> dict[str, Any]:
    params = training_params(request) | {"labels": json.dumps(labels)}
    http = {"method": "POST", "url": "/v1/training-sets/leakage", "params": params}
    return http | {"content": arrow_body(spine), "headers": {"content-type": ARROW}}


def make_request(options: dict[str, Any], spine: pa.Table) -> dict[str, Any]:
    params = {"name": options["name"]} | training_params(options["training_set"])
    if options["spine_tags"] is not None:
        params["spine_tags"] = json.dumps(options["spine_tags"])
    http = {"method": "POST", "url": "/v1/datasets", "params": params, "content": arrow_body(spine)}
    return http | {"headers": {"content-type": ARROW}}


def dataset_request(operation: Operation) -> dict[str, Any]:
    options = operation.options
    path = "/v1/datasets"
    if "dataset" in options:
        path += f"/{quote(options['dataset'], safe='@')}"
    match operation.name:
        case "rename":
            return json_request(f"{path}/rename", {"to": options["to"]})
        case "retire":
            return {"method": "POST", "url": f"{path}/retire"}
        case "profile" | "diff":
            params: dict[str, str] = {}
            for name in ("preview", "with"):
                if name in options:
                    params[name] = str(options[name])
            if options["columns"] is not None:
                params["columns"] = json.dumps(options["columns"])
            return {"method": "GET", "url": f"{path}/{operation.name}", "params": params}
        case _:
            return {"method": "GET", "url": path}


def rows_request(which: str, columns: list[str] | None, states: bool) -> dict[str, Any]:
    params = {"states": "true" if states else "false"}
    if columns is not None:
        params["columns"] = json.dumps(columns)
    url = f"/v1/datasets/{quote(which, safe='@')}/rows"
    return {"method": "GET", "url": url, "params": params, "headers": {"accept": ARROW}}


def rows_answer(response: httpx.Response) -> pa.Table:
    """The rows; a stream that was cut off has no end, which its reader needs."""
    raise_problem(response)
    arrow = pyarrow()
    length = response.headers.get("content-length")
    try:
        table: pa.Table = arrow.ipc.open_stream(io.BytesIO(response.content)).read_all()
    except (arrow.ArrowException, OSError):
        raise unexpected(response) from None
    if length is not None and int(length) != len(response.content):
        raise CretaError("http/cut-off", "the answer is cut short", help="try again")
    return table


def training_request(request: dict[str, Any], spine: pa.Table) -> dict[str, Any]:
    params = training_params(request)
    http = {"method": "POST", "url": "/v1/training-sets", "params": params, "content": arrow_body(spine)}
    return http | {"headers": {"content-type": ARROW, "accept": ARROW}}


def training_answer(response: httpx.Response, request: dict[str, Any], spine: pa.Table) -> pa.Table:
    """The table, which has the rows of the spine (rule S21), but for those that somebody left out.

    A stream that was cut off may be readable.
    """
    raise_problem(response)
    arrow = pyarrow()
    try:
        table: pa.Table = arrow.ipc.open_stream(io.BytesIO(response.content)).read_all()
    except (arrow.ArrowException, OSError):
        raise unexpected(response) from None
    whole = len(table) + rows_dropped(table) == len(spine)
    if not whole and "sample" not in request:
        raise CretaError(
            "http/cut-off",
            f"the answer has {len(table):,} of {len(spine):,} rows",
            help="it was cut off on the way: try again",
        )
    return table


_ABOUT_DEFINITIONS = (404, 409, 422)
"""Statuses of problems that are mistakes in definitions."""


def check_request(project: Definitions) -> dict[str, Any] | CretaError:
    """The request, or the mistake that kept the definitions from being exported."""
    try:
        return json_request("/v1/check", canonical(export_project(project)))
    except CretaError as error:
        return error


def mistakes(response: httpx.Response) -> list[CretaError]:
    """The mistakes in definitions that an answer tells; what else is wrong is raised."""
    try:
        read_json(response)
    except CretaError as error:
        if response.status_code not in _ABOUT_DEFINITIONS or error.code.startswith("http/"):
            raise
        return [error, *error.others]
    return []


def ingest_request(entity: str, request: dict[str, Any], table: pa.Table) -> dict[str, Any]:
    at, arrival = request["event_time"], request.get("arrival", {})
    params: dict[str, str] = {"entity": entity}
    if "column" in at:
        params["event_time"] = at["column"]
    else:
        params["event_time_constant"] = at["constant"]
    if "column" in arrival:
        params["arrival_column"] = arrival["column"]
    elif "delay" in arrival:
        params["arrival_delay"] = arrival["delay"]
    params |= {name: request[name] for name in ("event_id", "source", "zone", "retract") if name in request}
    if "columns" in request:
        params["columns"] = json.dumps(request["columns"])
    body = arrow_body(table)
    return {
        "method": "POST",
        "url": "/v1/ingest",
        "params": params,
        "content": body,
        "headers": {
            "content-type": ARROW,
            "idempotency-key": request.get("idempotency_key") or str(uuid.uuid4()),
        },
    }


def json_request(path: str, body: Any) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return {
        "method": "POST",
        "url": path,
        "content": text.encode(),
        "headers": {"content-type": "application/json"},
    }
