"""The methods that a server and the embedded engine share."""

from __future__ import annotations

import enum
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, overload

from creta import _requests
from creta._answers import (
    Dataset,
    Explanation,
    IngestReport,
    LeakageReport,
    Row,
    Rows,
    VerifyReport,
    read_answer,
)
from creta._datasets import AsyncDatasets, AsyncDatasetStore, Datasets, DatasetStore
from creta._feature import Feature
from creta._frames import Frame
from creta._requests import Instants, LoadOptions, MaxAge, Outputs, Selection, Which, WhichT

if TYPE_CHECKING:
    import pyarrow as pa


class Struct(Protocol):
    """A dataclass instance."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Scalar: TypeAlias = bool | int | float | str | bytes | Decimal | date | timedelta | enum.Enum | Struct | None
"""What is known about a single row."""


class Queries(DatasetStore):
    """Asks for features, builds training sets, loads facts."""

    @property
    def datasets(self) -> Datasets:
        """Training sets with a name: made, listed, loaded, compared, retired."""
        return Datasets(self)

    @abstractmethod
    def _query(self, request: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def _explain(self, request: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    def _training_set(self, request: dict[str, Any], spine: pa.Table) -> pa.Table: ...

    @abstractmethod
    def _audit_leakage(
        self, request: dict[str, Any], labels: dict[str, str | None], spine: pa.Table
    ) -> dict[str, Any]: ...

    @abstractmethod
    def _ingest(self, entity: str, request: dict[str, Any], table: pa.Table) -> dict[str, Any]: ...

    @abstractmethod
    def _verify(self, options: dict[str, Any]) -> dict[str, Any]: ...

    @overload
    def query(  # pyright: ignore[reportOverlappingOverload]
        self,
        inputs: Mapping[WhichT, Scalar],
        outputs: Outputs,
        *,
        as_of: datetime | str | None = None,
        known_as_of: datetime | str | None = None,
        max_age: MaxAge | None = None,
    ) -> Row: ...
    @overload
    def query(
        self,
        inputs: Mapping[WhichT, Any],
        outputs: Outputs,
        *,
        as_of: Instants | None = None,
        known_as_of: Instants | None = None,
        max_age: MaxAge | None = None,
    ) -> Rows: ...
    def query(
        self,
        inputs: Mapping[WhichT, Any],
        outputs: Outputs,
        *,
        as_of: Instants | None = None,
        known_as_of: Instants | None = None,
        max_age: MaxAge | None = None,
    ) -> Row | Rows:
        """What are these features? One `Row` for single values; `Rows`, in order, when inputs or `as_of` are
        lists.

        `inputs` holds what is known: the key, or any other feature. `as_of` is now unless it is given;
        `known_as_of` is `as_of` unless it is given, `"latest"` for restated history (rule S1); `max_age`
        tightens what features declare.
        """
        request = _requests.query(inputs, outputs, as_of, known_as_of, max_age)
        rows = read_answer(self._query(request.json), request.asked)
        return rows[0] if request.single else rows

    def explain(
        self,
        inputs: Mapping[WhichT, Any],
        outputs: Outputs,
        *,
        as_of: Instants | None = None,
        known_as_of: Instants | None = None,
        max_age: MaxAge | None = None,
    ) -> Explanation:
        """How would this query be answered: what, from where?"""
        request = _requests.query(inputs, outputs, as_of, known_as_of, max_age)
        return _requests.read_explanation(self._explain(request.json))

    def training_set(
        self,
        spine: Frame,
        *,
        features: Sequence[Which],
        as_of: str = "as_of",
        inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None = None,
        known_as_of: str | None = None,
        include_states: bool = False,
        sample: float | None = None,
        seed: int = 0,
        required: Sequence[Which] = (),
    ) -> Dataset:
        """The rows of a spine with a column per feature, point-in-time correct (rules S1 to S5, S21).

        `as_of` is the column with each row's instant. Columns named by a path, `Flight.carrier`, are what is
        known about the row; `inputs` says so for columns of other names. `known_as_of` is a column or
        `"latest"`. With `include_states` each feature has a `...__state` column beside it.

        `sample` looks at so many rows, `10_000`, or at a share of them, `0.1`; the same `seed` takes the
        same rows. Rows without a value of a `required` feature are left out, and counted in `dropped`.
        """
        rows = Selection(include_states=include_states, sample=sample, seed=seed, required=required)
        request = _requests.training_set(spine, as_of, features, inputs, known_as_of, rows)
        start = time.perf_counter()
        table = self._training_set(request.json, request.spine)
        return Dataset(table, tuple(request.json["features"]), time.perf_counter() - start)

    def audit_leakage(
        self,
        spine: Frame,
        *,
        features: Sequence[Which],
        labels: Mapping[str, Which | None] | Sequence[str],
        as_of: str = "as_of",
        inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None = None,
        known_as_of: str | None = None,
        sample: float | None = None,
        seed: int = 0,
    ) -> LeakageReport:
        """Looks for what a model could learn of a training set and not know later; see `training_set`.

        `labels` are the columns of the spine that are to be learned, each with the feature that it holds
        values of, if it is one: `{"came_back": Order.returned}`. Tells counts of rows, never a value.
        """
        rows = Selection(sample=sample, seed=seed)
        request = _requests.training_set(spine, as_of, features, inputs, known_as_of, rows)
        columns = _requests.labels(labels, request.spine)
        return LeakageReport.from_json(self._audit_leakage(request.json, columns, request.spine))

    def ingest(
        self,
        entity: type,
        frame: Frame,
        *,
        event_time: str | datetime | None = None,
        arrival: str | timedelta | None = None,
        event_id: str | None = None,
        source: str | None = None,
        zone: str | None = None,
        retract: str | None = None,
        columns: Mapping[Feature[Any], str] | None = None,
        idempotency_key: str | None = None,
    ) -> IngestReport:
        """Loads facts of an entity.

        Answered when they are durable and visible. `event_time` is a column, or one instant for all; without
        it the entity's own feature of that role. History must say when it was known (rule S1): `arrival` is a
        column, or how long after the event time. `event_id` is the column whose equal values mark versions of
        one event (rule S8), and `retract` a column of `bool`, true where a version takes its event back (rule
        S22). `zone` is the IANA zone of naive datetimes. `columns` names columns that are called otherwise
        than their feature: `{Flight.carrier: "airline"}`.

        A load with an `idempotency_key` is taken once, however often it is sent within a day: for a program
        that sends it again after it was stopped. A client gives one of its own to each load, so that it may
        try again when an answer is lost.
        """
        options = LoadOptions(
            event_time=event_time,
            arrival=arrival,
            event_id=event_id,
            source=source,
            zone=zone,
            retract=retract,
            columns=columns,
            idempotency_key=idempotency_key,
        )
        load = _requests.load(entity, frame, options)
        return IngestReport.from_json(self._ingest(load.entity, load.json, load.table))

    def verify(self, *, samples: int = 10_000, seed: int = 1) -> VerifyReport:
        """Replays the facts in order of arrival and compares online with offline answers at sampled
        instants."""
        return VerifyReport.from_json(self._verify({"samples": samples, "seed": seed}))


class AsyncQueries(AsyncDatasetStore):
    """`Queries` with every method awaited."""

    @property
    def datasets(self) -> AsyncDatasets:
        """Training sets with a name: made, listed, loaded, compared, retired."""
        return AsyncDatasets(self)

    @abstractmethod
    async def _query(self, request: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    async def _explain(self, request: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    async def _training_set(self, request: dict[str, Any], spine: pa.Table) -> pa.Table: ...

    @abstractmethod
    async def _audit_leakage(
        self, request: dict[str, Any], labels: dict[str, str | None], spine: pa.Table
    ) -> dict[str, Any]: ...

    @abstractmethod
    async def _ingest(self, entity: str, request: dict[str, Any], table: pa.Table) -> dict[str, Any]: ...

    @abstractmethod
    async def _verify(self, options: dict[str, Any]) -> dict[str, Any]: ...

    @overload
    async def query(
        self,
        inputs: Mapping[WhichT, Scalar],
        outputs: Outputs,
        *,
        as_of: datetime | str | None = None,
        known_as_of: datetime | str | None = None,
        max_age: MaxAge | None = None,
    ) -> Row: ...
    @overload
    async def query(
        self,
        inputs: Mapping[WhichT, Any],
        outputs: Outputs,
        *,
        as_of: Instants | None = None,
        known_as_of: Instants | None = None,
        max_age: MaxAge | None = None,
    ) -> Rows: ...
    async def query(
        self,
        inputs: Mapping[WhichT, Any],
        outputs: Outputs,
        *,
        as_of: Instants | None = None,
        known_as_of: Instants | None = None,
        max_age: MaxAge | None = None,
    ) -> Row | Rows:
        """See `Queries.query`."""
        request = _requests.query(inputs, outputs, as_of, known_as_of, max_age)
        rows = read_answer(await self._query(request.json), request.asked)
        return rows[0] if request.single else rows

    async def explain(
        self,
        inputs: Mapping[WhichT, Any],
        outputs: Outputs,
        *,
        as_of: Instants | None = None,
        known_as_of: Instants | None = None,
        max_age: MaxAge | None = None,
    ) -> Explanation:
        """See `Queries.explain`."""
        request = _requests.query(inputs, outputs, as_of, known_as_of, max_age)
        return _requests.read_explanation(await self._explain(request.json))

    async def training_set(
        self,
        spine: Frame,
        *,
        features: Sequence[Which],
        as_of: str = "as_of",
        inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None = None,
        known_as_of: str | None = None,
        include_states: bool = False,
        sample: float | None = None,
        seed: int = 0,
        required: Sequence[Which] = (),
    ) -> Dataset:
        """See `Queries.training_set`."""
        rows = Selection(include_states=include_states, sample=sample, seed=seed, required=required)
        request = _requests.training_set(spine, as_of, features, inputs, known_as_of, rows)
        start = time.perf_counter()
        table = await self._training_set(request.json, request.spine)
        return Dataset(table, tuple(request.json["features"]), time.perf_counter() - start)

    async def audit_leakage(
        self,
        spine: Frame,
        *,
        features: Sequence[Which],
        labels: Mapping[str, Which | None] | Sequence[str],
        as_of: str = "as_of",
        inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None = None,
        known_as_of: str | None = None,
        sample: float | None = None,
        seed: int = 0,
    ) -> LeakageReport:
        """See `Queries.audit_leakage`."""
        rows = Selection(sample=sample, seed=seed)
        request = _requests.training_set(spine, as_of, features, inputs, known_as_of, rows)
        columns = _requests.labels(labels, request.spine)
        return LeakageReport.from_json(await self._audit_leakage(request.json, columns, request.spine))

    async def ingest(
        self,
        entity: type,
        frame: Frame,
        *,
        event_time: str | datetime | None = None,
        arrival: str | timedelta | None = None,
        event_id: str | None = None,
        source: str | None = None,
        zone: str | None = None,
        retract: str | None = None,
        columns: Mapping[Feature[Any], str] | None = None,
        idempotency_key: str | None = None,
    ) -> IngestReport:
        """See `Queries.ingest`."""
        options = LoadOptions(
            event_time=event_time,
            arrival=arrival,
            event_id=event_id,
            source=source,
            zone=zone,
            retract=retract,
            columns=columns,
            idempotency_key=idempotency_key,
        )
        load = _requests.load(entity, frame, options)
        return IngestReport.from_json(await self._ingest(load.entity, load.json, load.table))

    async def verify(self, *, samples: int = 10_000, seed: int = 1) -> VerifyReport:
        """See `Queries.verify`."""
        return VerifyReport.from_json(await self._verify({"samples": samples, "seed": seed}))
