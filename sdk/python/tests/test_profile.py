"""Figures of a training set, and the page that a notebook shows of it."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa

from creta._answers import Dataset
from creta._profile import Bin, Profile, histogram, of_table

HOSTILE = "<script>alert('x')</script>&\"<img src=x onerror=y>"


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)


def test_figures_of_numbers_texts_and_instants() -> None:
    noon = datetime(2025, 3, 1, 12, tzinfo=UTC)
    made = of_table(
        table(
            at=[noon, noon, noon, noon],
            n=[1.0, 2.0, None, math.nan],
            n__state=["value", "value", "missing", "value"],
            word=["a", "b", "a", None],
        ),
        ("n", "word"),
        "set",
    )
    assert [one.name for one in made] == ["at", "n", "word"], "states are not columns of their own"
    n = made["n"]
    assert (n.kind, n.values, n.absent, n.mean, n.least) == ("feature", 3, {"missing": 1}, 1.5, "1")
    assert n.std is not None
    assert math.isclose(n.std, math.sqrt(0.5))
    assert sum(one.count for one in n.bins) == 2, "what is not finite is in no bin"
    word = made["word"]
    assert (word.distinct, word.top, word.absent, word.bins) == (2, (("a", 2),), {"null": 1}, ())
    assert made["at"].least == "2025-03-01T12:00:00+00:00"
    assert made.preview[2] == ("2025-03-01T12:00:00+00:00", None, "a")


def test_figures_of_columns_that_have_none() -> None:
    made = of_table(
        table(none=pa.nulls(3), lists=[[1], [], None], same=[7, 7, 7], decimal=pa.array(["1.5"] * 3)),
        (),
        "set",
    )
    assert made["none"].values == 0
    assert made["lists"].distinct is None
    assert made["same"].bins == (Bin(7.0, 7.0, 3),)
    assert of_table(table(x=pa.array([], pa.float64())), ("x",), "set")["x"].mean is None


class Strict(HTMLParser):
    """Every tag that is opened is closed, and none is one that loads or runs anything."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs), attrs
        if tag not in ("rect", "line"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "rect":
            assert self.open.pop() == tag


def test_attack_ch14_a_page_holds_values_as_text_and_runs_nothing() -> None:
    hostile = table(**{HOSTILE: [HOSTILE, HOSTILE, None], "n": [1.0, 2.0, 3.0]})
    page = Dataset(hostile, (HOSTILE, "n"), 0.1)._repr_html_()
    assert "<script" not in page
    assert "<img" not in page
    parser = Strict()
    parser.feed(page)
    assert not parser.open
    assert parser.seen <= {
        "table", "caption", "thead", "tbody", "tr", "th", "td", "b", "em", "svg", "rect", "line", "title",
        "details", "summary", "span",
    }  # fmt: skip
    assert "svg" in parser.seen


def test_a_servers_profile_is_shown_alike() -> None:
    made = Profile.from_json(
        {
            "dataset": "delays@3",
            "rows": 4,
            "rows_unseen": 2,
            "columns": [
                {
                    "name": "Flight.delay",
                    "kind": "feature",
                    "type": "float",
                    "withheld": True,
                    "values": 3,
                    "absent": {"missing": 1},
                    "distinct": 3,
                    "range": ["0", "6"],
                    "numbers": {
                        "mean": 2.0,
                        "zeros": 1,
                        "not_finite": 0,
                        "bins": [{"from": 0, "to": 3, "count": 2}, {"from": 3, "to": 6, "count": 1}],
                    },
                }
            ],
            "preview": [["1.5"], [None]],
        }
    )
    delay = made["Flight.delay"]
    assert (delay.share_absent, delay.std, delay.bins[1]) == (0.25, None, Bin(3, 6, 1))
    page = made._repr_html_()
    assert "2 more kept back by row rules" in page
    assert "withheld" in page
    assert len(re.findall("<title>", histogram(delay))) == 2
    assert repr(made) == "<Profile of delays@3: 4 rows, 1 columns>"
