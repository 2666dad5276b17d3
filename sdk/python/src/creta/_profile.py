"""Figures of a table's columns and a few of its rows, as a notebook shows them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from creta._lazy import module, pyarrow

if TYPE_CHECKING:
    import pyarrow as pa

BINS = 12
DISTINCT_MAX = 10_000
SHOWN_MAX = 60
TOP = 5


@dataclass(frozen=True, slots=True)
class Bin:
    """A bar of a histogram: from its lower end to below its upper end, which the last one includes."""

    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What there is to say of one column."""

    name: str
    kind: str
    """`feature`, `given` for a column of the spine that gave one, `spine` for its other columns."""

    type: str
    values: int
    """Cells with a value."""

    absent: Mapping[str, int]
    """Cells without one, by state; `null` alone where states are not kept."""

    distinct: int | None
    """Different values; `None` where there are more than ten thousand."""

    top: tuple[tuple[str, int], ...]
    """The most frequent values, if any is there twice."""

    least: str | None
    greatest: str | None
    mean: float | None
    std: float | None
    """Of a sample (n-1)."""

    bins: tuple[Bin, ...]
    withheld: bool
    """You get less of it than was kept."""

    @property
    def share_absent(self) -> float:
        """How many of the cells have no value, from 0 to 1."""
        absent = sum(self.absent.values())
        return absent / (absent + self.values) if absent else 0.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Figures of the columns of a training set, and its first rows.

    `profile["Flight.delay"].mean`.
    """

    title: str
    rows: int
    rows_unseen: int
    """Kept back by row rules that bind you."""

    digest: str | None
    """SHA-256 of a dataset's content, where all of it is shown to you."""

    columns: tuple[Figures, ...]
    preview: tuple[tuple[str | None, ...], ...]

    def __getitem__(self, column: Any) -> Figures:
        for figures in self.columns:
            if figures.name == str(column):
                return figures
        raise KeyError(str(column))

    def __iter__(self) -> Iterator[Figures]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        return f"<Profile of {self.title}: {self.rows:,} rows, {len(self.columns)} columns>"

    def _repr_html_(self) -> str:
        return page(self)

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Profile:
        """Reads a server's answer."""
        return cls(
            json["dataset"],
            json["rows"],
            json["rows_unseen"],
            json.get("digest"),
            tuple(_figures(column) for column in json["columns"]),
            tuple(tuple(row) for row in json["preview"]),
        )


def _figures(json: Mapping[str, Any]) -> Figures:
    numbers: Mapping[str, Any] = json.get("numbers") or {}
    least, greatest = json.get("range") or (None, None)
    return Figures(
        json["name"],
        json["kind"],
        json["type"],
        json["values"],
        json.get("absent", {}),
        json.get("distinct"),
        tuple((str(text), int(count)) for text, count in json.get("top", ())),
        least,
        greatest,
        numbers.get("mean"),
        numbers.get("std"),
        tuple(Bin(one["from"], one["to"], one["count"]) for one in numbers.get("bins", ())),
        json["withheld"],
    )


def of_table(table: pa.Table, features: Sequence[str], title: str, preview: int = 5) -> Profile:
    """Figures of a training set that is here."""
    names: list[str] = list(table.column_names)
    shown = [name for name in names if not (name.endswith("__state") and name[: -len("__state")] in features)]
    columns = tuple(_of_column(table, name, name in features) for name in shown)
    first: list[dict[str, Any]] = table.slice(0, preview).to_pylist()
    rows = tuple(tuple(_shown(row[name]) for name in shown) for row in first)
    return Profile(title, table.num_rows, 0, None, columns, rows)


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def _of_column(table: pa.Table, name: str, is_feature: bool) -> Figures:
    arrow, compute = pyarrow(), module("pyarrow.compute")
    column: Any = table.column(name)
    kind: Any = column.type
    absent: dict[str, int] = {}
    if column.null_count:
        states: Any = table.column(f"{name}__state") if f"{name}__state" in table.column_names else None
        if is_feature and states is not None:
            counts: Any = compute.value_counts(states.filter(column.is_null()))
            absent = {str(one["values"]): int(one["counts"]) for one in counts.to_pylist()}
        else:
            absent = {"null": column.null_count}
    values = len(column) - column.null_count
    distinct, top = _counted(column, compute)
    least = greatest = mean = std = None
    bins: tuple[Bin, ...] = ()
    is_number = arrow.types.is_integer(kind) or arrow.types.is_floating(kind) or arrow.types.is_decimal(kind)
    if is_number and values:
        floats = compute.cast(column.drop_null(), arrow.float64())
        finite = floats.filter(compute.is_finite(floats))
        if len(finite):
            extremes = compute.min_max(finite).as_py()
            low, high = float(extremes["min"]), float(extremes["max"])
            least, greatest = _number(low), _number(high)
            mean = float(compute.mean(finite).as_py())
            std = None if len(finite) < 2 else float(compute.stddev(finite, ddof=1).as_py())
            bins = _bins(finite.to_pylist(), low, high)
    elif values and arrow.types.is_temporal(kind) and not arrow.types.is_duration(kind):
        extremes = compute.min_max(column).as_py()
        least, greatest = _shown(extremes["min"]), _shown(extremes["max"])
    origin = "feature" if is_feature else "spine"
    return Figures(
        name, origin, str(kind), values, absent, distinct, top, least, greatest, mean, std, bins, False
    )


def _counted(column: Any, compute: Any) -> tuple[int | None, tuple[tuple[str, int], ...]]:
    arrow = pyarrow()
    if arrow.types.is_nested(column.type):
        return None, ()
    counts: Any = compute.value_counts(column.drop_null())
    if len(counts) > DISTINCT_MAX:
        return None, ()
    listed = [(_shown(one["values"]) or "", int(one["counts"])) for one in counts.to_pylist()]
    top = sorted((pair for pair in listed if pair[1] > 1), key=lambda pair: (-pair[1], pair[0]))
    return len(listed), tuple(top[:TOP])


def _bins(numbers: Sequence[float], low: float, high: float) -> tuple[Bin, ...]:
    width = high / BINS - low / BINS
    if width <= 0:
        return (Bin(low, high, len(numbers)),)
    counts = [0] * BINS
    for number in numbers:
        counts[min(int(number / width - low / width), BINS - 1)] += 1
    ends = [low + width * place for place in range(BINS)] + [high]
    return tuple(Bin(ends[place], ends[place + 1], counts[place]) for place in range(BINS))


def _number(number: float) -> str:
    if not math.isfinite(number):
        return str(number)
    if number == int(number) and abs(number) < 1e15:
        return f"{int(number):,}"
    return f"{number:,.4g}"


_STYLE = (
    "font-size:12px;border-collapse:collapse",
    "text-align:left;padding:2px 10px 2px 0;vertical-align:middle",
    "text-align:right;padding:2px 10px 2px 0;vertical-align:middle;white-space:nowrap;"
    "font-variant-numeric:tabular-nums",
)
"""Of a table, of a cell with words, of a cell with numbers. Colours are the notebook's own."""


def page(profile: Profile) -> str:
    """A profile as HTML: every text escaped, pictures inside, nothing loaded from anywhere."""
    table, words, numbers = _STYLE
    caption = f"{profile.title}: {profile.rows:,} rows"
    if profile.rows_unseen:
        caption += f", {profile.rows_unseen:,} more kept back by row rules"
    titles = (
        "column",
        "type",
        "values",
        "without",
        "different",
        "least",
        "greatest",
        "mean",
        "std",
        "spread",
    )
    aligned = (words, words, numbers, words, numbers, numbers, numbers, numbers, numbers, words)
    head = "".join(f'<th style="{style}">{title}</th>' for title, style in zip(titles, aligned, strict=True))
    body = "".join(_line(figures, aligned) for figures in profile.columns)
    text = (
        f'<table style="{table}"><caption style="text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )
    if not profile.preview:
        return text
    names = "".join(f'<th style="{words}">{escape(figures.name)}</th>' for figures in profile.columns)
    rows = "".join(
        "<tr>" + "".join(f'<td style="{words}">{_cell(value)}</td>' for value in row) + "</tr>"
        for row in profile.preview
    )
    return (
        f"{text}<details><summary>first rows</summary>"
        f'<table style="{table}"><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table></details>'
    )


def _cell(value: str | None) -> str:
    return '<span style="opacity:.5">none</span>' if value is None else escape(value)


def _line(figures: Figures, aligned: Sequence[str]) -> str:
    name = escape(figures.name)
    if figures.withheld:
        name += ' <em style="opacity:.6">withheld</em>'
    cells = (
        f"<b>{name}</b>" if figures.kind == "feature" else name,
        escape(figures.type),
        f"{figures.values:,}",
        _absence(figures),
        "" if figures.distinct is None else f"{figures.distinct:,}",
        escape(figures.least or ""),
        escape(figures.greatest or ""),
        "" if figures.mean is None else _number(figures.mean),
        "" if figures.std is None else _number(figures.std),
        histogram(figures) or _frequent(figures),
    )
    return (
        "<tr>" + "".join(f'<td style="{s}">{c}</td>' for c, s in zip(cells, aligned, strict=True)) + "</tr>"
    )


def _absence(figures: Figures) -> str:
    """How many cells have no value and why, with a bar of their share."""
    if not figures.absent:
        return ""
    why = ", ".join(f"{count:,} {state}" for state, count in sorted(figures.absent.items()))
    share = figures.share_absent
    return (
        f'<svg width="40" height="8" role="img" aria-label="{share:.0%} without a value">'
        f'<rect width="40" height="8" fill="currentColor" opacity=".15"/>'
        f'<rect width="{40 * share:.1f}" height="8" fill="currentColor" opacity=".6"/></svg> {escape(why)}'
    )


def histogram(figures: Figures) -> str:
    """The bins of a column as an inline picture; nothing where there are none."""
    if not figures.bins:
        return ""
    width, height, gap = 132, 28, 1
    most = max(one.count for one in figures.bins) or 1
    step = width / len(figures.bins)
    bars = "".join(
        f'<rect x="{place * step:.1f}" y="{height - height * one.count / most:.1f}" '
        f'width="{step - gap:.1f}" height="{height * one.count / most:.1f}" fill="currentColor" '
        f'opacity=".6"><title>{escape(_number(one.low))} to {escape(_number(one.high))}: {one.count:,}'
        "</title></rect>"
        for place, one in enumerate(figures.bins)
    )
    label = f"spread of {figures.name} from {figures.least} to {figures.greatest}"
    return (
        f'<svg width="{width}" height="{height + 1}" viewBox="0 0 {width} {height + 1}" role="img" '
        f'aria-label="{escape(label)}">{bars}<line x1="0" x2="{width}" y1="{height + 0.5}" '
        f'y2="{height + 0.5}" stroke="currentColor" opacity=".3"/></svg>'
    )


def _frequent(figures: Figures) -> str:
    return escape(", ".join(f"{text} ({count:,})" for text, count in figures.top))
