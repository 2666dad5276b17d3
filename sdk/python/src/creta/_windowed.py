"""Windows in the form of the graph."""

from __future__ import annotations

from types import FunctionType
from typing import Any

from creta._entity import called_late
from creta._errors import CretaError, Location
from creta._expression import expression_json
from creta._feature import Member
from creta._time import span_text
from creta.windows import Aggregation


def window_json(aggregation: Aggregation, member: Member, at: Location) -> dict[str, Any]:
    """The window of a feature as data."""
    assert member.entity is not None
    relation = aggregation.column.relation
    if relation.entity is not member.entity:
        owner = relation.entity.__name__ if relation.entity else "no entity"
        raise CretaError(
            "definition/bad-window",
            f"`{member.entity.__name__}.{member.name}` aggregates over a relation of `{owner}`",
            help="declare the `many` relation in the same entity",
            location=at,
        )
    if relation.kind != "many":
        raise CretaError("definition/bad-window", "windows aggregate over a `many` relation", location=at)
    target = relation.target()
    json: dict[str, Any] = {"relation": relation.name, "aggregate": aggregation.function}
    if aggregation.n is not None:
        json["n"] = aggregation.n
    if aggregation.thousandths is not None:
        json["thousandths"] = aggregation.thousandths
    if aggregation.column.value is not None:
        json["value"] = expression_json(_now(aggregation.column.value), target, at)
    if aggregation.where is not None:
        json["where"] = expression_json(_now(aggregation.where), target, at)
    json["last"] = [span_text(span) for span in aggregation.last]
    if aggregation.include_now:
        json["include_now"] = True
    return json


def _now(value: Any) -> Any:
    """A reference itself, or what the lambda around it gives now that all entities exist."""
    return called_late(value) if isinstance(value, FunctionType) else value
