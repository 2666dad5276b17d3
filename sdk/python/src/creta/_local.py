"""The engine inside this process: production answers in a test or notebook, without a server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from creta import _requests
from creta._client import Queries
from creta._datasets import Operation
from creta._errors import CretaError, problem_here
from creta._export import Definitions, Exporter, canonical, load
from creta._frames import Frame, to_table
from creta._guards import is_items
from creta._lazy import pyarrow
from creta._raised import Sources
from creta._resolvers import Resolvers, bind
from creta._time import instant_text

if TYPE_CHECKING:
    import pyarrow as pa

ENVIRONMENT = "local"
"""The only environment that a process may hold by itself."""

_ALWAYS = datetime(1, 1, 1, tzinfo=UTC)


class Local(Queries):
    """A scope of its own, in memory, gone with the process.

    See `local`.
    """

    def __init__(self, project: Definitions) -> None:
        native = native_module()
        if isinstance(project, str | Path):
            _asked(native, native.refuse_belongings, str(project))
        self._exporter = Exporter(load(project))
        bundle = self._exporter.bundle()
        loaded = self._exporter.project
        sources = Sources(loaded.sources, loaded.files)
        resolvers = [bind(info.function, sources) for _, info in sorted(self._exporter.resolvers.items())]
        calls = Resolvers(resolvers)
        self._engine = _asked(
            native, native.Local, canonical(bundle), ENVIRONMENT, calls.call, calls.call_scalar
        )
        self._native = native

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._json(self._engine.query, json.dumps(request))

    def _explain(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._json(self._engine.explain, json.dumps(request))

    def _training_set(self, request: dict[str, Any], spine: pa.Table) -> pa.Table:
        arrow = pyarrow()

        made: pa.Table = arrow.table(
            _asked(self._native, self._engine.training_set, json.dumps(request), spine)
        )
        return made

    def _audit_leakage(
        self, request: dict[str, Any], labels: dict[str, str | None], spine: pa.Table
    ) -> dict[str, Any]:
        columns = [{"column": column, "feature": feature} for column, feature in labels.items()]
        return self._json(self._engine.audit_leakage, json.dumps(request), json.dumps(columns), spine)

    def _make_dataset(self, options: dict[str, Any], spine: pa.Table) -> dict[str, Any]:
        return self._json(self._engine.make_dataset, json.dumps(options), spine)

    def _dataset(self, operation: Operation) -> dict[str, Any]:
        request = {"operation": operation.name} | operation.options
        return self._json(self._engine.datasets, json.dumps(request))

    def _dataset_rows(self, which: str, columns: list[str] | None, states: bool) -> pa.Table:
        arrow = pyarrow()
        request = {"dataset": which, "columns": columns, "states": states}
        rows = _asked(self._native, self._engine.dataset_rows, json.dumps(request))
        table: pa.Table = arrow.table(rows)
        return table

    def _ingest(self, entity: str, request: dict[str, Any], table: pa.Table) -> dict[str, Any]:
        return self._json(self._engine.ingest, entity, json.dumps(request), table)

    def _verify(self, options: dict[str, Any]) -> dict[str, Any]:
        return self._json(self._engine.verify, json.dumps(options))

    def _json(self, function: Any, *arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(_asked(self._native, function, *arguments))
        return answer

    def _synth(self, options: dict[str, Any]) -> dict[type, pa.Table]:
        arrow = pyarrow()
        made: Any = _asked(self._native, self._engine.synth, json.dumps(options))
        return {self._exporter.entities[name]: arrow.table(stream) for name, stream in made}

    def _load_sources(self) -> None:
        """Loads all declared sources of a project folder."""
        folder = self._exporter.project.folder
        assert folder is not None
        for name in sorted(self._exporter.sources):
            _asked(self._native, self._engine.load_source, str(folder), name)


def local(project: Definitions, *, facts: Mapping[type, Frame] | None = None) -> Local:
    """Opens the engine inside this process, with the definitions of a project folder, of modules, or single
    ones.

    `facts` are known from the moment they are true on; those of an entity without `event_time()` are known
    since ever, unless the frame has a column `event_time`. Without `facts`, a folder's declared sources are
    loaded.

    It is a scope of its own that lives in memory: no server's keys or data come here. Data folders, root
    keys, credentials and profiles are refused, and so are tables that an environment of another class than
    development handed out: give facts in the test, public data, or what `creta.synth` makes.
    """
    opened = Local(project)
    if facts is None:
        if not isinstance(project, ModuleType) and opened._exporter.project.folder is not None:
            opened._load_sources()
        return opened
    for entity, frame in facts.items():
        table = to_table(frame)
        column = _requests.event_time_column(entity)
        at: str | datetime = column or ("event_time" if "event_time" in table.column_names else _ALWAYS)
        opened.ingest(entity, table, event_time=at, arrival=timedelta(0), source="test")
    return opened


def synth(
    project: Definitions,
    *,
    rows: int | Mapping[type, int] = 100,
    seed: int = 1,
    between: tuple[datetime, datetime] | None = None,
    nulls: float = 0.1,
) -> dict[type, pa.Table]:
    """Makes facts that have the shape of a project's definitions and nobody's values.

    They keep the types, bounds, lengths, patterns and members that the definitions declare; keys are unique,
    relations lead somewhere, and event times lie `between` two instants, by default within 2025. `rows` is a
    number for every entity, or one for each that is named; `nulls` the share of nulls among values that may
    be null. The same definitions, rows and seed give the same facts. Give them to `creta.local`:

        local = creta.local(project, facts=creta.synth(project, rows=1000))
    """
    of_entity = (
        {entity.__name__: int(count) for entity, count in rows.items()} if isinstance(rows, Mapping) else {}
    )
    options: dict[str, Any] = {
        "rows": 100 if isinstance(rows, Mapping) else int(rows),
        "of_entity": of_entity,
        "seed": seed,
        "from": None if between is None else instant_text(between[0]),
        "to": None if between is None else instant_text(between[1]),
        "nulls": nulls,
    }
    return Local(project)._synth(options)


def check(project: Definitions) -> list[CretaError]:
    """Type-checks a project's definitions: every mistake with its place, none when all is well."""
    try:
        Local(project)
    except CretaError as error:
        return [error, *error.others]
    return []


def native_module() -> Any:
    """The extension module, imported when it is needed."""
    try:
        import creta._native as native  # type: ignore[import-not-found,unused-ignore]  # pyright: ignore
    except ImportError as error:
        raise problem_here(
            "local/no-engine",
            "this installation of `creta` has no engine",
            "install a wheel for this platform: `pip install creta`",
        ) from error
    return native


def _asked(native: Any, function: Any, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except native.NativeError as error:
        problems: Any = json.loads(error.args[0])
        listed = problems if is_items(problems) else [problems]
        errors = [CretaError.from_problem(problem) for problem in listed]
        errors[0].others = tuple(errors[1:])
        raise errors[0] from None
