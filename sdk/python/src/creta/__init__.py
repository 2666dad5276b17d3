"""Creta: features for machine learning, computed by one engine now and at every instant of the past.

Definitions look like dataclasses, resolvers are plain functions:

>>> from typing import Annotated
>>> import creta
>>> from creta import Feature, entity, feature, key, resolver
>>> @entity
... class User:
...     id: Feature[int] = key()
...     email: Feature[str] = feature(tags=("pii",))
...     email_domain: Feature[str] = feature()
>>> @resolver
... def email_domain(email: Annotated[str, User.email]) -> Annotated[str, User.email_domain]:
...     return email.rsplit("@", 1)[-1].lower()
>>> email_domain("ana@Example.com")
'example.com'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from creta._entity import Many, One, entity, event_id, event_time, feature, key, many, one
from creta._errors import CretaError, Location, Note
from creta._feature import Feature, Windowed
from creta._options import Check, Meta
from creta._resolver import Now, resolver
from creta._signature import Nulls
from creta._source import arrow, csv, named_query, parquet, source, sqlite
from creta._time import days, hours, minutes, seconds
from creta._types import Scale, Vector
from creta.functions import and_, coalesce, not_, or_, when
from creta.windows import count, distinct, first, last, last_n, max_, mean, min_, std, sum_, var

__all__ = [
    "Check", "CretaError", "Feature", "Location", "Many", "Meta", "Note", "Now", "Nulls", "One", "Scale", "Vector",
    "Windowed", "and_", "arrow", "coalesce", "count", "csv", "days", "distinct", "entity", "event_id", "event_time",
    "feature", "first", "hours", "key", "last", "last_n", "many", "max_", "mean", "min_", "minutes", "named_query",
    "not_", "one", "or_", "parquet", "resolver", "seconds", "source", "sqlite", "std", "sum_", "var", "when",
]  # fmt: skip
