"""Resolver calls over Arrow data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from creta._errors import CretaError
from creta._frames import to_array, to_series
from creta._guards import is_items
from creta._lazy import module, pyarrow
from creta._resolvers import Bound, Raised, Value, call_all, call_once
from creta._types import TypeSpec
from creta._values import WrongType, checked, decimal_text

pa = pyarrow()
pc = module("pyarrow.compute")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_NOT_ARROW = (pa.ArrowException, ArithmeticError, TypeError, ValueError)
_SIMPLE: dict[str, Any] = {
    "bool": pa.bool_(),
    "int": pa.int64(),
    "float": pa.float64(),
    "str": pa.string(),
    "enum": pa.string(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us", tz="UTC"),
    "timedelta": pa.duration("us"),
}


def arrow_type(spec: TypeSpec) -> Any:
    """The Arrow type that carries values of a type everywhere."""
    if spec.kind in _SIMPLE:
        return _SIMPLE[spec.kind]
    if spec.kind == "decimal":
        return pa.decimal128(38, spec.scale)
    if spec.kind == "vector":
        return pa.list_(pa.field("item", pa.float32(), nullable=False), spec.size)
    if spec.kind == "struct":
        return pa.struct([pa.field(name, arrow_type(inner)) for name, inner, _ in spec.fields])
    assert spec.item is not None
    return pa.list_(pa.field("item", arrow_type(spec.item)))


def from_arrow(spec: TypeSpec, column: Any) -> list[Any]:
    """Plain Python values of a column; datetimes are aware, in UTC."""
    # Instants travel as integers: Arrow's own conversion would need a time zone database.
    convert = _from_integers(spec)
    if convert is None:
        plain: list[Any] = column.to_pylist()
        return plain
    integers = column.cast(_zoneless(arrow_type(spec)))
    return [None if value is None else convert(value) for value in integers.to_pylist()]


def _zoneless(kind: Any) -> Any:
    if pa.types.is_timestamp(kind):
        return pa.int64()
    if pa.types.is_struct(kind):
        return pa.struct([inner.with_type(_zoneless(inner.type)) for inner in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_zoneless(kind.value_type)))
    return kind


def _from_integers(spec: TypeSpec) -> Callable[[Any], Any] | None:
    if spec.kind == "datetime":
        return lambda micros: _EPOCH + timedelta(microseconds=micros)
    if spec.kind == "list" and spec.item is not None:
        convert = _from_integers(spec.item)
        if convert is not None:
            return lambda items: [None if item is None else convert(item) for item in items]
    if spec.kind == "struct":
        members = {name: inner for name, inner, _ in spec.fields}
        converters = {
            name: found for name, inner in members.items() if (found := _from_integers(inner)) is not None
        }
        if converters:
            return lambda values: {
                name: converters[name](value) if name in converters and value is not None else value
                for name, value in values.items()
            }
    return None


def to_arrow(spec: TypeSpec, values: Sequence[Any]) -> Any:
    """A column of plain values as `checked` gives them."""
    return pa.array([None if value is None else _storable(spec, value) for value in values], arrow_type(spec))


def _storable(spec: TypeSpec, value: Any) -> Any:
    if value is None:
        return None
    if spec.kind == "datetime":
        return (value - _EPOCH) // _MICROSECOND
    if spec.kind == "timedelta":
        # Arrow's own conversion goes by way of whole days, which at the ends of 64 bits do not fit.
        return value // _MICROSECOND
    if spec.kind == "decimal":
        from decimal import Decimal

        return Decimal(decimal_text(value, spec.scale))
    if spec.kind == "list" and spec.item is not None:
        return [_storable(spec.item, item) for item in value]
    if spec.kind == "struct":
        return {name: _storable(inner, value[name]) for name, inner, _ in spec.fields}
    return value


@dataclass(slots=True)
class Outcome:
    """One column per output; what stands in a failed row does not matter."""

    columns: list[Any]
    errors: dict[int, CretaError] = field(default_factory=lambda: {})

    def table(self) -> Any:
        """The columns as `o0`, `o1`, ..."""
        return pa.table(self.columns, names=[f"o{index}" for index in range(len(self.columns))])


def one_batch(stream: Any) -> Any:
    """All rows of an Arrow stream as one batch."""
    reader = pa.RecordBatchReader.from_stream(stream)
    batches = list(reader)
    if len(batches) == 1:
        return batches[0]
    if not batches:
        return pa.RecordBatch.from_pylist([], schema=reader.schema)
    return pa.concat_batches(batches)


def call(resolver: Bound, batch: Any) -> Outcome:
    """Calls a resolver for all rows of a batch whose columns are its parameters in order."""
    if batch.num_columns != len(resolver.inputs):
        raise CretaError(
            "resolver/wrong-arguments",
            f"resolver `{resolver.name}` takes {len(resolver.inputs)} columns, not {batch.num_columns}",
        )
    if resolver.mode == "scalar":
        return _call_rows(resolver, batch)
    columns = [_frame_column(resolver.mode, i, batch.column(n)) for n, i in enumerate(resolver.inputs)]
    result = call_once(resolver, columns)
    results: Any = result if len(resolver.outputs) > 1 else (result,)
    if not is_items(results) or len(results) != len(resolver.outputs):
        raise resolver.wrong_type()
    outcome = Outcome([])
    for output, column in zip(resolver.outputs, results, strict=True):
        array = _result_column(resolver, output, column)
        if len(array) != batch.num_rows:
            raise CretaError(
                "resolver/wrong-length",
                f"resolver `{resolver.name}` returned {len(array)} values for {batch.num_rows} rows",
            )
        outcome.columns.append(array)
        for row in _bad_rows(output, array):
            outcome.errors[row] = resolver.wrong_type()
    return outcome


def call_one(resolver: Bound, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """One row for a resolver over frames, with plain values."""
    columns = [to_arrow(i.type, [value]) for i, value in zip(resolver.inputs, arguments, strict=True)]
    names = [i.name for i in resolver.inputs]
    outcome = call(
        resolver, pa.RecordBatch.from_arrays(columns, names=names) if columns else _one_row_without_columns()
    )
    if 0 in outcome.errors:
        raise outcome.errors[0]
    return tuple(
        from_arrow(o.type, column)[0] for o, column in zip(resolver.outputs, outcome.columns, strict=True)
    )


def _one_row_without_columns() -> Any:
    return pa.RecordBatch.from_pylist([{}])


def _call_rows(resolver: Bound, batch: Any) -> Outcome:
    columns = [from_arrow(parameter.type, batch.column(n)) for n, parameter in enumerate(resolver.inputs)]
    rows = list(zip(*columns, strict=True)) if columns else [()] * batch.num_rows
    outputs: list[tuple[Any, ...]] = []
    errors: dict[int, CretaError] = {}
    absent = (None,) * len(resolver.outputs)
    for row, result in enumerate(call_all(resolver, rows)):
        if isinstance(result, Raised):
            errors[row] = resolver.raised(result.error)
            outputs.append(absent)
            continue
        try:
            outputs.append(resolver.results(result))
        except WrongType as error:
            errors[row] = resolver.wrong_type(error)
            outputs.append(absent)
    arrays = [
        _column(resolver, output, [row[n] for row in outputs], errors)
        for n, output in enumerate(resolver.outputs)
    ]
    return Outcome(arrays, errors)


def _column(resolver: Bound, output: Value, values: list[Any], errors: dict[int, CretaError]) -> Any:
    """A column of results; one that Arrow does not take fails its row and no other."""
    try:
        return to_arrow(output.type, values)
    except _NOT_ARROW:
        for row, value in enumerate(values):
            try:
                to_arrow(output.type, [value])
            except _NOT_ARROW:
                errors[row] = resolver.wrong_type()
                values[row] = None
        return to_arrow(output.type, values)


def _frame_column(mode: str, parameter: Value, column: Any) -> Any:
    if mode == "arrow":
        return column
    if mode == "polars":
        series = module("polars").from_arrow(column)
        return series.alias(parameter.name)
    # With nulls an int column would silently become floats: parameters that take nulls get pandas'
    # nullable types.
    return to_series(column, always_nullable=parameter.optional).rename(parameter.name)


def _result_column(resolver: Bound, output: Value, result: Any) -> Any:
    wanted = arrow_type(output.type)
    try:
        array = _as_array(result, output.optional)
        if not _acceptable(array.type, output.type):
            raise resolver.wrong_type()
        exact = not (pa.types.is_integer(array.type) and pa.types.is_floating(wanted))
        return _floored(array).cast(wanted, safe=exact)
    except (CretaError, pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        raise resolver.wrong_type() from None


def _floored(array: Any) -> Any:
    """Times finer than a microsecond floored to it (rule S17)."""
    kind = array.type
    if not (pa.types.is_timestamp(kind) or pa.types.is_duration(kind)) or kind.unit != "ns":
        return array
    coarse = pa.timestamp("us", tz=kind.tz) if pa.types.is_timestamp(kind) else pa.duration("us")
    cut = array.cast(coarse, safe=False)
    # Arrow cuts towards zero, which before the epoch is forwards.
    late = pc.greater(cut.cast(kind).cast(pa.int64()), array.cast(pa.int64()))
    return pc.subtract(cut.cast(pa.int64()), late.cast(pa.int64())).cast(coarse)


def _as_array(result: Any, optional: bool) -> Any:
    """What a resolver returned as one Arrow array.

    In pandas NaN is how a missing number is written: it is null where the
    output may be null, else it stays NaN.
    """
    kind = type(result).__module__.partition(".")[0]
    if kind == "pandas" and not optional and str(result.dtype) != "object":
        result = pa.array(result, from_pandas=False)
    elif not isinstance(result, pa.Array | pa.ChunkedArray):
        result = to_array(result, "the result")
    if isinstance(result, pa.ChunkedArray):
        result = result.combine_chunks()
    if pa.types.is_dictionary(result.type):
        result = result.dictionary_decode()
    return result


def _acceptable(given: Any, spec: TypeSpec) -> bool:
    """Whether a column of one type may be read as another without guessing: widths and units may differ,
    meaning not, nor that of what lists and structs hold."""
    if pa.types.is_null(given):
        return True
    if spec.kind == "struct":
        members = {inner.name: inner.type for inner in given} if pa.types.is_struct(given) else {}
        return set(members) == {name for name, _, _ in spec.fields} and all(
            _acceptable(members[name], inner) for name, inner, _ in spec.fields
        )
    if spec.kind == "list" and spec.item is not None:
        return _is_list(given) and _acceptable(given.value_type, spec.item)
    if spec.kind == "vector":
        return _is_list(given) and bool(pa.types.is_floating(given.value_type))
    if spec.kind == "datetime":
        return bool(pa.types.is_timestamp(given)) and given.tz is not None
    test = _TESTS[spec.kind]
    return bool(test(given)) or (spec.kind == "float" and bool(pa.types.is_integer(given)))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_bytes(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


_TESTS: dict[str, Callable[[Any], bool]] = {
    "bool": pa.types.is_boolean,
    "int": pa.types.is_integer,
    "float": pa.types.is_floating,
    "decimal": pa.types.is_decimal,
    "date": pa.types.is_date,
    "timedelta": pa.types.is_duration,
    "str": _is_text,
    "enum": _is_text,
    "bytes": _is_bytes,
}


def _bad_rows(output: Value, array: Any) -> list[int]:
    """Rows with a null that the output does not permit, or with a text that is no member of its enum, also
    inside lists and structs."""
    bad: list[int] = []
    if array.null_count and not output.optional:
        bad += pc.indices_nonzero(array.is_null()).to_pylist()
    if output.type.kind == "enum":
        known = pc.is_in(array, value_set=pa.array(output.type.members, pa.string()))
        bad += pc.indices_nonzero(pc.and_(pc.invert(known), array.is_valid())).to_pylist()
    elif output.type.kind in ("list", "struct"):
        for row, value in enumerate(from_arrow(output.type, array)):
            try:
                if value is not None:
                    checked(output.type, value)
            except WrongType:
                bad.append(row)
    return bad
