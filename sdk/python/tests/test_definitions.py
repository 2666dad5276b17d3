"""Definitions as Python objects: references, truth, ordinary functions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import pytest

from creta import (
    CretaError,
    Feature,
    Many,
    One,
    Windowed,
    count,
    days,
    entity,
    feature,
    hours,
    key,
    many,
    one,
    percentile,
    resolver,
)
from creta._export import export_project
from creta._resolvers import Resolvers, bind


@entity
class User:
    id: Feature[int] = key()
    email: Feature[str] = feature(tags=("pii",))
    domain: Feature[str] = feature()
    orders: Many[Order] = many(on=lambda: (User.id, Order.user))
    busy: Windowed[int] = count(orders, last=(days(1), hours(1)))


@entity
class Order:
    id: Feature[int] = key()
    user: Feature[int] = feature()
    buyer: One[User] = one(on=lambda: (Order.user, User.id))


@resolver
def domain(email: Annotated[str, User.email]) -> Annotated[str, User.domain]:
    """The part after the last `@`, lowercased."""
    return email.rsplit("@", 1)[-1].lower()


def test_a_resolver_stays_the_function_it_was() -> None:
    assert domain("ana@Example.com") == "example.com"
    assert (domain.__name__, domain.__doc__) == ("domain", "The part after the last `@`, lowercased.")


def test_references_are_keys_of_dictionaries() -> None:
    values = {User.id: 1, User.email: "a@b", Order.buyer.busy[days(1)]: 3}
    assert values[User.email] == "a@b"
    assert values[Order.buyer.busy[days(1)]] == 3
    assert Order.buyer.busy[hours(1)] not in values
    assert User.id == User.id
    assert User.id != Order.id
    assert str(Order.buyer.busy[days(1)]) == "Order.buyer.busy[1d]"


def test_conditions_have_no_truth_of_their_own() -> None:
    with pytest.raises(CretaError, match="when the engine runs it"):
        bool(User.id > 1)
    assert bool(User.id == 1) is False


def test_a_class_declared_anew_does_not_get_the_features_of_its_predecessor() -> None:
    for kind in (int, str):

        @entity
        class Again:
            id: Feature[kind] = key()  # type: ignore[valid-type]
            size: Feature[int] = feature()

        @resolver
        def size(id: Annotated[kind, Again.id]) -> Annotated[int, Again.size]:  # type: ignore[valid-type]
            return 1

        assert bind(size).inputs[0].type.kind == kind.__name__


def test_single_definitions_are_a_project_too() -> None:
    graph = export_project([User, Order, domain])["graph"]
    assert [e["name"] for e in graph["entities"]] == ["Order", "User"]
    assert graph["resolvers"][0]["location"]["file"].endswith("test_definitions.py")


def test_the_fast_path_gives_plain_values_or_a_code() -> None:
    resolvers = Resolvers([bind(domain)])
    assert resolvers.call_scalar("domain", ("ana@Example.com",)) == ("example.com",)
    assert resolvers.call_scalar(0, ("ana@Example.com",)) == ("example.com",)
    with pytest.raises(CretaError) as refused:
        resolvers.call_scalar(0, (None,))
    assert (refused.value.code, refused.value.message) == (
        "resolver/raised",
        "resolver `domain` raised `AttributeError`",
    )


def test_tables_for_the_embedded_engine() -> None:
    import pyarrow as pa

    table, errors = Resolvers([bind(domain)]).call("domain", pa.table({"email": ["a@X.com", None]}))
    assert table.to_pydict() == {"o0": ["x.com", None]}
    assert errors == {1: ("resolver/raised", "resolver `domain` raised `AttributeError`")}


@resolver
async def asked(
    id: Annotated[int, User.id], email: Annotated[str | None, User.email]
) -> Annotated[str, User.domain]:
    return f"{id} {email}"


def test_async_resolvers_run_also_where_a_loop_is_running() -> None:
    import asyncio

    resolvers = Resolvers([bind(asked)])

    async def in_a_notebook() -> tuple[str, ...]:
        return resolvers.call_scalar(0, (1, None))

    assert asyncio.run(in_a_notebook()) == ("1 None",)
    assert resolvers.call_scalar(0, (2, "x")) == ("2 x",)


def test_errors_read_like_the_style_guide() -> None:
    from creta import Location, Note

    error = CretaError(
        "plan/no-resolver",
        "nothing produces `Transaction.merchant_risk` in environment `staging`",
        help='add "staging" to its environments, or pass `Transaction.merchant_risk` in `inputs=`',
        notes=(Note("asked for by", "FraudScore.value", Location("features/fraud.py", 41)),),
    )
    assert str(error) == (
        "error[plan/no-resolver]: nothing produces `Transaction.merchant_risk` in environment `staging`\n"
        "  asked for by  FraudScore.value   features/fraud.py:41\n"
        '  help: add "staging" to its environments, or pass `Transaction.merchant_risk` in `inputs=`'
    )
    assert str(CretaError.from_problem(error.to_problem())) == str(error)


def test_now_is_an_aware_datetime() -> None:
    from creta import Now

    @resolver
    def domain(at: Annotated[datetime, Now]) -> Annotated[str, User.domain]:
        return at.isoformat()

    noon = datetime(2013, 7, 1, 12, tzinfo=UTC)
    assert bind(domain).call_scalar((noon,)) == ("2013-07-01T12:00:00+00:00",)


@pytest.mark.parametrize("percent", [0, 100, -1, 0.0001, 95.00001, 1e9])
def test_a_percentile_is_between_the_ends_with_three_digits_at_most(percent: float) -> None:
    with pytest.raises(CretaError, match="above 0 and below 100") as refused:
        percentile(User.orders[Order.user], percent, last=days(1))
    assert refused.value.help == "the ends are `min_` and `max_`"


def test_a_percentile_is_exported_in_thousandths() -> None:
    @entity
    class Buyer:
        id: Feature[int] = key()
        bought: Many[Order] = many(on=lambda: (Buyer.id, Order.user))
        user_p: Windowed[float] = percentile(bought[Order.id], 99.9, last=days(1))

    graph = export_project([User, Order, Buyer, domain])["graph"]
    (exported,) = [one for one in graph["entities"] if one["name"] == "Buyer"]
    (feature_,) = [one for one in exported["features"] if one["name"] == "user_p"]
    assert feature_["window"]["aggregate"] == "percentile"
    assert feature_["window"]["thousandths"] == 99_900
