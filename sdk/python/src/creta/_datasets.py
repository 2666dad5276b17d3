"""Training sets with a name: kept, sealed and numbered, on a server or in this process."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from creta import _requests
from creta._answers import Dataset
from creta._errors import problem_here
from creta._feature import Feature
from creta._frames import Frame
from creta._profile import Profile
from creta._requests import Selection, Which
from creta._time import parse_instant

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Operation:
    """Something to do with kept training sets: what, with which, how."""

    name: str
    """`list`, `describe`, `profile`, `diff`, `rename` or `retire`."""

    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """How a version was made, and out of what.

    `str()` is `name@version`, by which every method of `datasets` takes it.
    """

    name: str
    version: int
    made: datetime
    made_by: str
    rows: int | None
    """How many; `None` where a required feature chose them, to whoever did not make them.

    `profile` counts those that you get.
    """

    features: tuple[str, ...]
    """Paths of the features, in order."""

    retired: bool
    """Its rows are gone."""

    json: Mapping[str, Any] = field(repr=False)
    """All of it: the request, fingerprints of the definitions, position in the facts, entry of the log."""

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> DatasetVersion:
        """Reads an answer."""
        features = tuple(column["name"] for column in json["columns"] if column["kind"] == "feature")
        return cls(
            json["name"],
            json["version"],
            parse_instant(json["made"]),
            json["made_by"],
            json.get("rows"),
            features,
            json["state"]["is"] != "kept",
            json,
        )


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """A version among others; `str()` is `name@version`."""

    name: str
    version: int
    made: datetime
    made_by: str
    rows: int | None
    """How many; `None` where a required feature chose them."""

    features: int
    """How many."""

    retired: bool

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class ChangedColumn:
    """A column that differs between two versions."""

    column: str
    change: str
    """`values`, `added`, `removed`, `type`, or `withheld`: you do not get it as it was kept."""

    rows: int
    """Rows of both versions in which it differs."""

    appeared: int
    disappeared: int
    examples: tuple[int, ...]
    """The first of these rows, numbered from 0 in the right version."""

    why: tuple[Mapping[str, Any], ...]
    """What may have caused it.

    `because` is `definition`, `new-facts`, `known-as-of`, `max-age` or `unknown`.
    """


@dataclass(frozen=True, slots=True)
class DatasetDiff:
    """What changed from one version to another.

    Tells no value.
    """

    left: str
    right: str
    same: bool
    rows_both: int
    rows_left: int
    rows_right: int
    spine: tuple[ChangedColumn, ...]
    features: tuple[ChangedColumn, ...]
    definitions: Mapping[str, tuple[str, str]]
    """Features whose definition changed: the fingerprints before and after, empty where there was none."""

    def __getitem__(self, column: Any) -> ChangedColumn:
        for changed in (*self.spine, *self.features):
            if changed.column == str(column):
                return changed
        raise KeyError(str(column))

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> DatasetDiff:
        """Reads an answer."""

        def changed(one: Mapping[str, Any]) -> ChangedColumn:
            return ChangedColumn(
                one["column"],
                one["change"],
                one["rows"],
                one["appeared"],
                one["disappeared"],
                tuple(one["examples"]),
                tuple(one["why"]),
            )

        return cls(
            json["left"],
            json["right"],
            json["same"],
            json["rows_both"],
            json["rows_left"],
            json["rows_right"],
            tuple(changed(one) for one in json["spine"]),
            tuple(changed(one) for one in json["features"]),
            {name: (before, after) for name, before, after in json["definitions"]},
        )

    def _repr_html_(self) -> str:
        lines = "".join(
            f"<tr><td>{escape(one.column)}</td><td>{escape(one.change)}</td><td>{one.rows:,}</td>"
            f"<td>{escape('; '.join(map(_because, one.why)))}</td></tr>"
            for one in (*self.spine, *self.features)
        )
        caption = (
            f"{self.left} to {self.right}: {self.rows_both:,} rows in both, {self.rows_left:,} only before, "
            f"{self.rows_right:,} only after{', the same' if self.same else ''}"
        )
        head = "<th>column</th><th>change</th><th>rows</th><th>why</th>"
        return (
            f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{lines}</tbody></table>"
        )


def _because(why: Mapping[str, Any]) -> str:
    match why["because"]:
        case "definition":
            return f"the definition of {why['feature']} changed"
        case "new-facts":
            facts = f"{why['facts']:,} more" if "facts" in why else "other"
            return f"{facts} facts of {why['entity']} were known"
        case "known-as-of":
            return f"known as of {why['from']} before, and {why['to']} now"
        case "max-age":
            return "another max_age was asked for"
        case _:
            return "not by definitions or facts: look at its resolvers"


DatasetWhich = DatasetVersion | ListedVersion | str
"""A version: `delays@3`, what a method returned, or `delays` for the newest that is kept."""


class DatasetStore(ABC):
    """What keeps training sets: a server, or this process."""

    @abstractmethod
    def _make_dataset(self, options: dict[str, Any], spine: pa.Table) -> dict[str, Any]: ...

    @abstractmethod
    def _dataset(self, operation: Operation) -> dict[str, Any]: ...

    @abstractmethod
    def _dataset_rows(self, which: str, columns: list[str] | None, states: bool) -> pa.Table: ...


class Datasets:
    """Training sets with a name.

    Each is made once, kept sealed, numbered from 1, and never changed. Who sees what of it is decided at
    every look by the rights that hold then; nobody sees more than its maker did.
    """

    def __init__(self, store: DatasetStore) -> None:
        self._store = store

    def make(
        self,
        name: str,
        spine: Frame,
        *,
        features: Sequence[Which],
        as_of: str = "as_of",
        inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None = None,
        known_as_of: str | None = None,
        spine_tags: Sequence[str] | None = None,
        sample: float | None = None,
        seed: int = 0,
        required: Sequence[Which] = (),
    ) -> DatasetVersion:
        """Builds a training set and keeps it as the next version of `name`; see `training_set`.

        Columns of the spine that are no feature carry `spine_tags` when others look at them. Without it they
        carry every tag of which you see values, since a value of it may be in them.
        """
        rows = Selection(sample=sample, seed=seed, required=required)
        options, table = make_options(name, spine, features, as_of, inputs, known_as_of, spine_tags, rows)
        return DatasetVersion.from_json(self._store._make_dataset(options, table))

    def list(self) -> tuple[ListedVersion, ...]:
        """All versions of all datasets: by name, the newest first."""
        return listed(self._store._dataset(Operation("list", {})))

    def describe(self, which: DatasetWhich) -> DatasetVersion:
        """How a version was made, and out of what.

        No rows, and nothing that says anything of values.
        """
        return DatasetVersion.from_json(self._store._dataset(describe_operation(which)))

    def load(
        self,
        which: DatasetWhich,
        *,
        columns: Sequence[Which] | None = None,
        include_states: bool = False,
    ) -> Dataset:
        """The rows of a version, as far as your rights give them now."""
        version, start = self.describe(which), time.perf_counter()
        names = column_names(columns)
        table = self._store._dataset_rows(str(version), names, include_states)
        return loaded(version, table, names, time.perf_counter() - start)

    def profile(
        self, which: DatasetWhich, *, columns: Sequence[Which] | None = None, preview: int = 5
    ) -> Profile:
        """Figures of the columns of a version and its first rows, as your rights give them now."""
        return Profile.from_json(self._store._dataset(profile_operation(which, columns, preview)))

    def diff(
        self, left: DatasetWhich, right: DatasetWhich, *, columns: Sequence[Which] | None = None
    ) -> DatasetDiff:
        """Which rows and features changed from one version to another, and why."""
        return DatasetDiff.from_json(self._store._dataset(diff_operation(left, right, columns)))

    def rename(self, name: str, to: str) -> None:
        """Gives a dataset another name, with all its versions."""
        self._store._dataset(Operation("rename", {"dataset": name, "to": to}))

    def retire(self, which: DatasetVersion | ListedVersion | str) -> DatasetVersion:
        """Removes the rows of a version, `name@version`, for good.

        How it was made stays written down, and its number is not given again.
        """
        return DatasetVersion.from_json(self._store._dataset(Operation("retire", {"dataset": str(which)})))


class AsyncDatasetStore(ABC):
    """`DatasetStore` with every method awaited."""

    @abstractmethod
    async def _make_dataset(self, options: dict[str, Any], spine: pa.Table) -> dict[str, Any]: ...

    @abstractmethod
    async def _dataset(self, operation: Operation) -> dict[str, Any]: ...

    @abstractmethod
    async def _dataset_rows(self, which: str, columns: list[str] | None, states: bool) -> pa.Table: ...


class AsyncDatasets:
    """`Datasets` with every method awaited."""

    def __init__(self, store: AsyncDatasetStore) -> None:
        self._store = store

    async def make(
        self,
        name: str,
        spine: Frame,
        *,
        features: Sequence[Which],
        as_of: str = "as_of",
        inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None = None,
        known_as_of: str | None = None,
        spine_tags: Sequence[str] | None = None,
        sample: float | None = None,
        seed: int = 0,
        required: Sequence[Which] = (),
    ) -> DatasetVersion:
        """See `Datasets.make`."""
        rows = Selection(sample=sample, seed=seed, required=required)
        options, table = make_options(name, spine, features, as_of, inputs, known_as_of, spine_tags, rows)
        return DatasetVersion.from_json(await self._store._make_dataset(options, table))

    async def list(self) -> tuple[ListedVersion, ...]:
        """See `Datasets.list`."""
        return listed(await self._store._dataset(Operation("list", {})))

    async def describe(self, which: DatasetWhich) -> DatasetVersion:
        """See `Datasets.describe`."""
        return DatasetVersion.from_json(await self._store._dataset(describe_operation(which)))

    async def load(
        self,
        which: DatasetWhich,
        *,
        columns: Sequence[Which] | None = None,
        include_states: bool = False,
    ) -> Dataset:
        """See `Datasets.load`."""
        version, start = await self.describe(which), time.perf_counter()
        names = column_names(columns)
        table = await self._store._dataset_rows(str(version), names, include_states)
        return loaded(version, table, names, time.perf_counter() - start)

    async def profile(
        self, which: DatasetWhich, *, columns: Sequence[Which] | None = None, preview: int = 5
    ) -> Profile:
        """See `Datasets.profile`."""
        return Profile.from_json(await self._store._dataset(profile_operation(which, columns, preview)))

    async def diff(
        self, left: DatasetWhich, right: DatasetWhich, *, columns: Sequence[Which] | None = None
    ) -> DatasetDiff:
        """See `Datasets.diff`."""
        return DatasetDiff.from_json(await self._store._dataset(diff_operation(left, right, columns)))

    async def rename(self, name: str, to: str) -> None:
        """See `Datasets.rename`."""
        await self._store._dataset(Operation("rename", {"dataset": name, "to": to}))

    async def retire(self, which: DatasetVersion | ListedVersion | str) -> DatasetVersion:
        """See `Datasets.retire`."""
        answer = await self._store._dataset(Operation("retire", {"dataset": str(which)}))
        return DatasetVersion.from_json(answer)


def make_options(
    name: str,
    spine: Frame,
    features: Sequence[Which],
    as_of: str,
    inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None,
    known_as_of: str | None,
    spine_tags: Sequence[str] | None,
    rows: Selection,
) -> tuple[dict[str, Any], pa.Table]:
    """What to build and keep, and the spine."""
    if isinstance(spine_tags, str):
        raise problem_here(
            "request/bad-value", "`spine_tags` are one text", f"give a list: `['{spine_tags}']`"
        )
    request = _requests.training_set(spine, as_of, features, inputs, known_as_of, rows)
    tags = None if spine_tags is None else list(spine_tags)
    return {"name": name, "training_set": request.json, "spine_tags": tags}, request.spine


def describe_operation(which: DatasetWhich) -> Operation:
    """What describes a version."""
    return Operation("describe", {"dataset": str(which)})


def profile_operation(which: DatasetWhich, columns: Sequence[Which] | None, preview: int) -> Operation:
    """What profiles a version."""
    options = {"dataset": str(which), "columns": column_names(columns), "preview": preview}
    return Operation("profile", options)


def diff_operation(left: DatasetWhich, right: DatasetWhich, columns: Sequence[Which] | None) -> Operation:
    """What compares two versions."""
    options = {"dataset": str(left), "with": str(right), "columns": column_names(columns)}
    return Operation("diff", options)


def column_names(columns: Sequence[Which] | None) -> list[str] | None:
    """Names of columns, each a text or a feature; `None` for all."""
    if columns is None:
        return None
    if isinstance(columns, str):
        raise problem_here("request/bad-value", "the columns are one text", f"give a list: `['{columns}']`")
    return [_requests.path_of(column) for column in columns]


def listed(json: Mapping[str, Any]) -> tuple[ListedVersion, ...]:
    """Reads a list of datasets."""
    return tuple(
        ListedVersion(
            dataset["name"],
            one["version"],
            parse_instant(one["made"]),
            one["made_by"],
            one.get("rows"),
            one["features"],
            one["state"]["is"] != "kept",
        )
        for dataset in json["datasets"]
        for one in dataset["versions"]
    )


def loaded(version: DatasetVersion, table: pa.Table, columns: list[str] | None, seconds: float) -> Dataset:
    """The rows of a version."""
    features = tuple(name for name in version.features if columns is None or name in columns)
    return Dataset(table, features, seconds, str(version))
