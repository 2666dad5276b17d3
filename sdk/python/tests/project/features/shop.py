"""Everything that a definition can say, once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Annotated

from creta import (
    Check,
    Feature,
    Many,
    Meta,
    Now,
    One,
    Scale,
    Vector,
    Windowed,
    coalesce,
    count,
    csv,
    days,
    entity,
    event_id,
    event_time,
    feature,
    hours,
    key,
    last_n,
    many,
    mean,
    named_query,
    one,
    resolver,
    source,
    sqlite,
    sum_,
    when,
)
from creta.functions import log, max_

if TYPE_CHECKING:
    from features.places import Place


class Level(Enum):
    """How a customer is served."""

    PLAIN = "plain"
    GOLD = "gold"


@dataclass(frozen=True)
class Address:
    """Where something is sent."""

    street: str
    code: int | None


@entity(owner="sales", tags=("shop",))
class Order:
    """One order."""

    id: Feature[str] = key()
    user: Feature[int] = feature()
    at: Feature[datetime] = event_time()
    amount: Feature[Annotated[Decimal, Scale(2)] | None] = feature(check=Check(min=0), unit="EUR")
    """What was paid,
    taxes included."""
    # Seconds are enough.
    took: Feature[timedelta] = feature()
    parts: Feature[list[str]] = feature(default=[])
    receipt: Feature[str] = event_id(tags=("pii",))
    to: Feature[Address | None] = feature()
    place: One[Place] = one(on=lambda: ((Order.user, Place.user), (Order.receipt, Place.name)))
    many_parts: Feature[bool] = (parts.length() > 3) & ~(took < timedelta(hours=1))


@entity(renamed_from="Customer")
class User:
    """A person."""

    id: Feature[int] = key()
    born: Feature[date] = feature(max_age=days(30))
    email: Feature[str] = feature(tags=("pii",), check=Check(max_length=200, pattern=r".+@.+"))
    level: Feature[Level] = feature(
        default=Level.PLAIN, meta=Meta(owner="care", version=2, renamed_from="tier")
    )
    taste: Feature[Annotated[list[float], Vector(3)]] = feature()
    score: Feature[float | None] = feature(meta=Meta(deprecated="User.risk"))
    risk: Feature[float] = feature()
    domain: Feature[str] = feature()

    orders: Many[Order] = many(on=lambda: (User.id, Order.user))
    spent: Windowed[Decimal] = sum_(
        orders[Order.amount], where=Order.took > timedelta(0), last=(days(7), hours(1)), default=Decimal(0)
    )
    ordered: Windowed[int] = count(orders, last=days(1), include_now=True)
    recent: Windowed[list[str]] = last_n(orders[Order.receipt], 5, last=days(90))
    late: Windowed[float] = mean(orders[lambda: Order.took.total_seconds()], last=days(1))

    name: Feature[str] = email.lower().slice(None, 3) + "..."
    safe: Feature[float] = feature(coalesce(score, 0.5), unit="1")
    label: Feature[str | None] = when(level == Level.GOLD).then("gold").otherwise(None)
    odd: Feature[float] = log(max_(id, 1)) ** 2.0 - round(-risk, 1) % 3
    known: Feature[bool] = score.is_none() | (born >= date(2000, 1, 1))
    busy: Feature[bool] = ordered[days(1)] > 3


AT = re.compile("@")
LIMITS = (0.0, 1.0)


@resolver
def domain(email: Annotated[str, User.email]) -> Annotated[str, User.domain]:
    """The part after the last `@`, lowercased."""
    return AT.split(email)[-1].lower()


@resolver(owner="risk", environments=("prod", "staging"), timeout=timedelta(milliseconds=250), retries=2)
async def risk(
    level: Annotated[Level, User.level],
    spent: Annotated[Decimal | None, User.spent[days(7)]],
    at: Annotated[datetime, Now],
) -> tuple[Annotated[float, User.risk], Annotated[float | None, User.score]]:
    return clamp(float(spent or 0)), None


def clamp(x: float) -> float:
    """Into the limits."""
    return min(LIMITS[1], max(LIMITS[0], x))


old_orders = source(
    Order,
    sqlite("data/shop.db", "select * from orders"),
    event_time="happened",
    arrival="loaded",
    columns={Order.user: "customer"},
    zone="Europe/Paris",
)
people = source(User, csv("data/people.csv"), event_time=datetime(2020, 1, 1, tzinfo=UTC), arrival=days(1))
profile = named_query(
    inputs=[User.id], outputs=[User.risk, User.spent[days(7)]], doc="For the desk.", version=3
)
