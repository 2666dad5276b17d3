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
from creta.windows import count, distinct, first, last, last_n, max_, mean, min_, percentile, std, sum_, var

if TYPE_CHECKING:
    from creta._answers import Cell, Dataset, IngestReport, Leak, LeakageReport, Row, Rows, VerifyReport
    from creta._datasets import AsyncDatasets, DatasetDiff, Datasets, DatasetVersion
    from creta._frames import from_sql
    from creta._http import AsyncClient, Client, Credentials, connect, connect_async
    from creta._local import Local, check, local, synth
    from creta._profile import Profile

__all__ = [
    "AsyncClient", "AsyncDatasets", "Cell", "Check", "Client", "Credentials", "CretaError", "Dataset",
    "DatasetDiff", "DatasetVersion", "Datasets", "Feature", "IngestReport", "Leak", "LeakageReport",
    "Local", "Location", "Many", "Meta", "Note", "Now", "Nulls", "One", "Profile", "Row", "Rows", "Scale",
    "Vector", "VerifyReport", "Windowed", "and_", "arrow", "check", "coalesce", "connect",
    "connect_async", "count", "csv", "days", "distinct", "entity", "event_id", "event_time", "feature",
    "first", "from_sql", "hours", "key", "last", "last_n", "local", "many", "max_", "mean", "min_",
    "minutes", "named_query", "not_", "one", "or_", "parquet", "percentile", "resolver", "seconds",
    "source", "sqlite", "std", "sum_", "synth", "var", "when",
]  # fmt: skip

_LAZY = {
    **dict.fromkeys(
        ("Cell", "Dataset", "IngestReport", "Leak", "LeakageReport", "Row", "Rows", "VerifyReport"),
        "creta._answers",
    ),
    **dict.fromkeys(("AsyncDatasets", "DatasetDiff", "DatasetVersion", "Datasets"), "creta._datasets"),
    "Profile": "creta._profile",
    "from_sql": "creta._frames",
    **dict.fromkeys(("AsyncClient", "Client", "Credentials", "connect", "connect_async"), "creta._http"),
    **dict.fromkeys(("Local", "check", "local", "synth"), "creta._local"),
}
"""What definitions do not need is imported when it is first used: workers and `import creta` stay light."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module `creta` has no attribute `{name}`")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
