"""What decides an answer is in the text that a resolver's fingerprint is made of (rule S28)."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from creta import CretaError
from creta._export import export_project

ENTITY = """
@entity
class A:
    id: Feature[int] = key()
    x: Feature[float] = feature()
    level: Feature[Level] = feature()
    y: Feature[float] = feature()
"""
HEAD = """
from __future__ import annotations
import contextlib, functools, math
from dataclasses import dataclass
from enum import Enum
from math import sqrt
from typing import Annotated, NamedTuple
from creta import Feature, entity, feature, key, resolver
from rules.levels import Level
"""
SCORE = """
@resolver
def score(x: Annotated[float, A.x]) -> Annotated[float, A.y]:
    return {0}
"""
LEVELS = """
from enum import Enum
FACTOR = 2.0
class Base:
    def weight(self):
        return FACTOR
class Level(Base, Enum):
    LOW = "low"
    HIGH = "high"
"""
HELPERS = """
import functools
RATE = 0.1
def plain(x): return x * 3
def other(x): return x * 4
"""

CASES: dict[str, tuple[str, tuple[str, str]]] = {
    "a helper that is cached": (
        "@functools.cache\ndef help_(x):\n    return x * 5\n" + SCORE.format("help_(x)"),
        ("x * 5", "x * 6"),
    ),
    "a constant of a helper that is cached": (
        "N = 5\n@functools.lru_cache(maxsize=9)\ndef help_(x):\n    return x * N\n"
        + SCORE.format("help_(x)"),
        ("N = 5", "N = 6"),
    ),
    "a helper behind `functools.wraps`": (
        "def twice(f):\n    @functools.wraps(f)\n"
        "    def inner(x):\n        return f(f(x))\n    return inner\n@twice"
        "\ndef help_(x):\n    return x * 5\n" + SCORE.format("help_(x)"),
        ("x * 5", "x * 6"),
    ),
    "what wraps a helper": (
        "def twice(f):\n    @functools.wraps(f)\n"
        "    def inner(x):\n        return f(x) * 5\n    return inner\n@twice"
        "\ndef help_(x):\n    return x\n" + SCORE.format("help_(x)"),
        ("f(x) * 5", "f(x) * 6"),
    ),
    "a context that a library wraps": (
        "@contextlib.contextmanager\ndef limit():\n    yield 5\n"
        "def help_(x):\n    with limit() as n:\n        return n * x\n" + SCORE.format("help_(x)"),
        ("yield 5", "yield 6"),
    ),
    "one form of a generic function": (
        "@functools.singledispatch\ndef form(x):\n    return 0.0\n"
        "@form.register\ndef _(x: float):\n    return x * 5\n" + SCORE.format("form(x)"),
        ("x * 5", "x * 6"),
    ),
    "a constant in a decorator": (
        "N = 5\ndef by(n):\n    return lambda f: functools.partial\n"
        "@functools.lru_cache(maxsize=N)\ndef help_(x):\n    return x\n" + SCORE.format("help_(x)"),
        ("N = 5", "N = 6"),
    ),
    "a function of a factory": (
        "def by(n):\n    def inner(x):\n        return x * n\n    return inner\n"
        "one, two = by(1), by(2)\n" + SCORE.format("one(x) - two(x)"),
        ("by(1), by(2)", "by(2), by(1)"),
    ),
    "an import inside the resolver": (
        "from rules import helpers\n"
        + SCORE.format("x * RATE").replace("    return", "    from rules.helpers import RATE\n    return"),
        ("RATE = 0.1", "RATE = 0.2"),
    ),
    "a relative import inside a helper": (
        "def help_(x):\n    from . import helpers as h\n    return h.RATE * x\n" + SCORE.format("help_(x)"),
        ("RATE = 0.1", "RATE = 0.2"),
    ),
    "a module imported inside the resolver": (
        SCORE.format("rules.helpers.RATE * x").replace("    return", "    import rules.helpers\n    return"),
        ("RATE = 0.1", "RATE = 0.2"),
    ),
    "a constant under a dotted name": (
        "import rules.helpers\n" + SCORE.format("x * rules.helpers.RATE"),
        ("RATE = 0.1", "RATE = 0.2"),
    ),
    "a function under a dotted name": (
        "import rules.helpers\n" + SCORE.format("rules.helpers.plain(x)"),
        ("x * 3", "x * 5"),
    ),
    "constants of one name, read by one function": (
        "from rules import helpers, levels\nlevels.RATE = 0.7\n"
        + SCORE.format("x * helpers.RATE + levels.RATE"),
        ("RATE = 0.1", "RATE = 0.2"),
    ),
    "which function a name stands for": (
        "from rules.helpers import plain as a, other as b\n" + SCORE.format("a(x) - b(x)"),
        ("plain as a, other as b", "other as a, plain as b"),
    ),
    "which function of a library a name stands for": (
        "from math import floor as f\n" + SCORE.format("f(x)"),
        ("floor as f", "ceil as f"),
    ),
    "which library a name stands for": (
        "import math as m\n" + SCORE.format("m.sqrt(x)"),
        ("import math as m", "import cmath as m"),
    ),
    "the value of a default": (
        "N = 5\ndef help_(x, n=N):\n    return x * n\n" + SCORE.format("help_(x)"),
        ("N = 5", "N = 6"),
    ),
    "the value of a default of a keyword": (
        "N = 5\ndef help_(x, *, n=N + 1):\n    return x * n\n" + SCORE.format("help_(x)"),
        ("N = 5", "N = 6"),
    ),
    "a default that is a function": (
        "def by(x):\n    return x * 5\ndef help_(x, f=by):\n    return f(x)\n" + SCORE.format("help_(x)"),
        ("x * 5", "x * 6"),
    ),
    "a global of a method": (
        "N = 5\nclass Scale:\n    def go(self, x):\n        return x * N\n" + SCORE.format("Scale().go(x)"),
        ("N = 5", "N = 6"),
    ),
    "a function that a method calls": (
        "def by(x):\n    return x * 5\nclass Scale:\n    @staticmethod\n"
        "    def go(x):\n        return by(x)\n" + SCORE.format("Scale.go(x)"),
        ("x * 5", "x * 6"),
    ),
    "a member of a class": (
        "N = 5\nclass Scale:\n    n = N\n" + SCORE.format("x * Scale.n"),
        ("N = 5", "N = 6"),
    ),
    "a base of a class": (
        "class Base:\n    def go(self, x):\n        return x * 5\nclass Scale(Base):\n    pass\n"
        + SCORE.format("Scale().go(x)"),
        ("x * 5", "x * 6"),
    ),
    "a base that only a function knows": (
        "def make():\n    class Base:\n        def go(self, x):\n            return x * 5\n"
        "    class Scale(Base):\n        pass\n    return Scale\n"
        "Scale = make()\n" + SCORE.format("Scale().go(x)"),
        ("x * 5", "x * 6"),
    ),
    "the class of a captured instance": (
        "@dataclass(frozen=True)\nclass Scale:\n    n: int\n"
        "    def go(self, x):\n        return x * self.n * 5\n"
        "SCALE = Scale(1)\n" + SCORE.format("SCALE.go(x)"),
        ("n * 5", "n * 6"),
    ),
    "the class of a named tuple": (
        "class Scale(NamedTuple):\n    n: int\n"
        "    def go(self, x):\n        return x * self.n * 5\n"
        "SCALE = Scale(1)\n" + SCORE.format("SCALE.go(x)"),
        ("n * 5", "n * 6"),
    ),
    "the value of a captured member of an enum": (
        'class Kind(Enum):\n    BIG = "5"\nKIND = Kind.BIG\n' + SCORE.format("x * float(KIND.value)"),
        ('"5"', '"6"'),
    ),
    "a method of a parameter's class": (
        SCORE.format("x * level.weight()").replace(
            "(x: Annotated[float, A.x])", "(x: Annotated[float, A.x], level: Annotated[Level, A.level])"
        ),
        ("return FACTOR", "return FACTOR + 1"),
    ),
    "a constant of a method of a parameter's class": (
        SCORE.format("x * level.weight()").replace(
            "(x: Annotated[float, A.x])", "(x: Annotated[float, A.x], level: Annotated[Level, A.level])"
        ),
        ("FACTOR = 2.0", "FACTOR = 3.0"),
    ),
}


def write(folder: Path, code: str, change: tuple[str, str] | None = None) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "rules").mkdir(parents=True)
    (folder / "creta.toml").write_text('[project]\nname = "code"\n')
    texts = {"score": HEAD + ENTITY + code, "levels": LEVELS, "helpers": HELPERS}
    if change is not None:
        old, new = change
        assert sum(text.count(old) for text in texts.values()) == 1, "the case changes one place"
        texts = {name: text.replace(old, new) for name, text in texts.items()}
    for name, text in texts.items():
        (folder / "rules" / f"{name}.py").write_text(text)
    return folder


def exported(folder: Path) -> str:
    codes = {one["name"]: one["code"] for one in export_project(folder)["graph"]["resolvers"]}
    text: str = codes["score"]
    ast.parse(text)
    return text


@pytest.mark.parametrize("case", CASES)
def test_s28_a_change_of(tmp_path: Path, case: str) -> None:
    code, change = CASES[case]
    before = exported(write(tmp_path / "project", code))
    assert before == exported(write(tmp_path / "elsewhere", code)), "the same code has the same text"
    assert before != exported(write(tmp_path / "project", code, change)), "the change is in the text"


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("import rules.helpers\n" + SCORE.format("x * rules.helpers.RATE"), ("x * 4", "x * 5")),
        ('class Scale:\n    """Five."""\n' + SCORE.format("x if Scale else 0"), ("Five", "Six")),
        ("def help_(x, n=5):\n    return x # why\n" + SCORE.format("help_(x)"), ("# why", "# because")),
    ],
)
def test_s28_what_decides_nothing_is_not_in_the_text(
    tmp_path: Path, code: str, change: tuple[str, str]
) -> None:
    before = exported(write(tmp_path / "project", code))
    assert before == exported(write(tmp_path / "project", code, change))


def test_constants_stand_first_and_the_function_last(tmp_path: Path) -> None:
    code = "N = 5\ndef help_(x, n=N):\n    return x * n\n" + SCORE.format("help_(x) * N + sqrt(x)")
    assert exported(write(tmp_path / "project", code)).splitlines() == [
        "N = 5",
        "sqrt = imported('math.sqrt')",
        "defaults['score.help_', 'n'] = 5",
        "def help_(x, n=N):",
        "    return x * n",
        "def score(x: Annotated[float, A.x]) -> Annotated[float, A.y]:",
        "    return help_(x) * N + sqrt(x)",
    ]


REFUSED = {
    "a default that is a list": (
        "def help_(x, seen=[]):\n    seen.append(x)\n    return len(seen)\n" + SCORE.format("help_(x)"),
        "the default of `seen` of `help_` is a list",
    ),
    "a global that is assigned": (
        "COUNT = 0\ndef help_(x):\n    global COUNT\n    COUNT += 1\n    return COUNT\n"
        + SCORE.format("help_(x)"),
        "`help_` changes the global `COUNT`",
    ),
    "a module as a value": (
        "from rules import helpers\n" + SCORE.format('x * getattr(helpers, "RATE")'),
        "uses the module `helpers` without saying what of it",
    ),
    "eval": (SCORE.format('eval("x * 2")'), "calls `eval`"),
    "a list in a cached helper": (
        "SEEN = []\n@functools.cache\ndef help_(x):\n    return len(SEEN)\n" + SCORE.format("help_(x)"),
        "captures `SEEN`, a list that could change",
    ),
    "an instance that is not frozen": (
        "class Scale:\n    pass\nSCALE = Scale()\n" + SCORE.format("x if SCALE else 0"),
        "captures `SCALE`, a `Scale`, which cannot travel",
    ),
    "a class without source": (
        'from collections import namedtuple\nP = namedtuple("P", "x")\n' + SCORE.format("P(x).x"),
        "the source of the class `P` is not available",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_written_down_is_refused(tmp_path: Path, case: str) -> None:
    code, message = REFUSED[case]
    with pytest.raises(CretaError) as refused:
        exported(write(tmp_path / "project", code))
    assert refused.value.code == "resolver/captures"
    assert message in refused.value.message
    assert refused.value.help
    assert refused.value.location is not None
    assert refused.value.location.file == "rules/score.py"
