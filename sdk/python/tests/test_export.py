"""The bundle of a project, and each mistake a definition can hold."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest

from creta import CretaError, check
from creta._export import canonical, export_project, main

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[2] / "examples" / "flights"


def test_a_project_that_says_everything(golden: Callable[[str, str], None]) -> None:
    bundle = export_project(HERE / "project")
    bundle["modules"] = sorted(bundle["modules"])
    golden("shop.json", json.dumps(bundle, indent=1, ensure_ascii=False) + "\n")


def test_what_a_project_may_say_is_accepted() -> None:
    # All but the named query, whose resolver is meant for other environments than this one.
    assert [problem.code for problem in check(HERE / "project")] == ["plan/no-resolver"]


def test_the_flights_example(golden: Callable[[str, str], None]) -> None:
    bundle = export_project(EXAMPLE)
    bundle["modules"] = sorted(bundle["modules"])
    golden("flights.json", json.dumps(bundle, indent=1, ensure_ascii=False) + "\n")


@pytest.mark.parametrize("project", [HERE / "project", EXAMPLE], ids=["shop", "flights"])
def test_bundles_follow_the_published_schema(project: Path) -> None:
    schema = json.loads((HERE.parents[2] / "docs" / "reference" / "graph.schema.json").read_text())
    bundle = export_project(project)
    jsonschema.validate(bundle, schema)
    bundle["graph"]["entities"][0]["feature"] = []
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bundle, schema)


def test_exporting_twice_gives_the_same_bytes() -> None:
    command = [sys.executable, "-m", "creta._export", str(EXAMPLE)]
    outputs = {
        subprocess.run(
            command,
            capture_output=True,
            check=True,
            env={"PYTHONPATH": str(HERE.parent / "src"), "PYTHONHASHSEED": s},
        ).stdout
        for s in ("1", "2")
    }
    assert len(outputs) == 1
    assert canonical(export_project(EXAMPLE)).encode() + b"\n" in outputs


PRELUDE = """\
from __future__ import annotations
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any
from creta import *
from creta import Feature, One, Many, Windowed

@entity
class User:
    id: Feature[int] = key()
    email: Feature[str] = feature()
    score: Feature[float] = feature()
    orders: Many[Order] = many(on=lambda: (User.id, Order.user))
    busy: Windowed[int] = count(orders, last=days(1))

@entity
class Order:
    id: Feature[int] = key()
    user: Feature[int] = feature()
    amount: Feature[float | None] = feature()
    buyer: One[User] = one(on=lambda: (Order.user, User.id))

"""

MISTAKES = {
    "a type that cannot be stored": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[complex] = feature()
    """,
    "two types": """
        @entity
        class Bad:
            id: Feature[int | str] = key()
    """,
    "an enum of numbers": """
        from enum import Enum
        class Level(Enum):
            ONE = 1
        @entity
        class Bad:
            id: Feature[int] = key()
            level: Feature[Level] = feature()
    """,
    "a dataclass that can change": """
        from dataclasses import dataclass
        @dataclass
        class Money:
            cents: int
        @entity
        class Bad:
            id: Feature[int] = key()
            money: Feature[Money] = feature()
    """,
    "no key": """
        @entity
        class Bad:
            what: Feature[int] = feature()
    """,
    "no declaration": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[int]
    """,
    "no annotation": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what = feature()
    """,
    "an annotation with an unknown name": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[Nothing] = feature()
    """,
    "a default of another type": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[int] = feature(default="many")
    """,
    "a default of None where its feature is not optional": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[int] = feature(default=None)
    """,
    "a bound that is a Decimal": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[float] = feature(check=Check(min=Decimal("0.1")))
    """,
    "a bound that is not finite": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[float] = feature(check=Check(max=float("inf")))
    """,
    "a constant of too many digits": """
        @entity
        class Bad:
            id: Feature[int] = key()
            price: Feature[Decimal] = feature()
            what: Feature[bool] = price > Decimal(10) ** 38
    """,
    "a constant of numpy without a zone": """
        @entity
        class Bad:
            id: Feature[int] = key()
            at: Feature[datetime] = event_time()
            what: Feature[bool] = at > __import__("numpy").datetime64("2025-01-01T00:00:00", "ns")
    """,
    "a relation to no entity": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: One[int] = one(on=lambda: (Bad.id, User.id))
    """,
    "a relation the wrong way round": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: One[User] = one(on=lambda: (User.id, Bad.id))
    """,
    "an expression over another entity": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[int] = User.id + 1
    """,
    "a window without its length": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[int] = User.busy + 1
    """,
    "a window that is not declared": """
        @resolver
        def score(n: Annotated[int, User.busy[days(2)]]) -> Annotated[float, User.score]:
            return n / 2
    """,
    "a window of something else": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Windowed[float] = mean(User.score, last=days(1))
    """,
    "a window of no length": """
        @entity
        class Bad:
            id: Feature[int] = key()
            orders: Many[Order] = many(on=lambda: (Bad.id, Order.user))
            what: Windowed[int] = count(orders, last=days(0))
    """,
    "a truth value of a condition": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[bool] = (id > 1) and (id < 3)
    """,
    "a naive datetime": """
        people = source(User, csv("people.csv"), event_time=datetime(2020, 1, 1))
    """,
    "a constant of no type": """
        @entity
        class Bad:
            id: Feature[int] = key()
            what: Feature[bool] = id == {1: 2}
    """,
    "a feature that does not exist": """
        @resolver
        def score(mail: Annotated[str, User.emial]) -> Annotated[float, User.score]:
            return 1.0
    """,
    "a feature that does not exist over a relation": """
        @entity
        class Bad:
            id: Feature[int] = key()
            buyer: One[User] = one(on=lambda: (Bad.id, User.id))
        @resolver
        def score(
            mail: Annotated[str, Order.buyer.emial],
        ) -> Annotated[float | None, Order.amount]:
            return 1.0
    """,
    "many things in a path": """
        @resolver
        def amount(n: Annotated[int, Order.buyer.orders.id]) -> Annotated[float | None, Order.amount]:
            return 1.0
    """,
    "a parameter without a feature": """
        @resolver
        def score(
            email: Annotated[str, User.email],
            factor: float,
        ) -> Annotated[float, User.score]:
            return factor
    """,
    "a parameter of another type": """
        @resolver
        def score(email: Annotated[int, User.email]) -> Annotated[float, User.score]:
            return 1.0
    """,
    "a result of another type": """
        @resolver
        def score(email: Annotated[str, User.email]) -> Annotated[float | None, User.score]:
            return 1.0
    """,
    "a result that is a key": """
        @resolver
        def score(email: Annotated[str, User.email]) -> Annotated[int, User.id]:
            return 1
    """,
    "results of two entities": """
        @resolver
        def score(
            email: Annotated[str, User.email],
        ) -> tuple[Annotated[float, User.score], Annotated[int, Order.user]]:
            return 1.0, 1
    """,
    "an input of another entity": """
        @resolver
        def score(user: Annotated[int, Order.user]) -> Annotated[float, User.score]:
            return 1.0
    """,
    "a captured list": """
        SEEN = []
        @resolver
        def score(email: Annotated[str, User.email]) -> Annotated[float, User.score]:
            SEEN.append(email)
            return 1.0
    """,
    "a captured file, one call away": """
        LOG = open("/dev/null")
        def note(text: str) -> None:
            LOG.write(text)
        @resolver
        def score(email: Annotated[str, User.email]) -> Annotated[float, User.score]:
            note(email)
            return 1.0
    """,
    "two of one name": """
        @resolver
        def score(email: Annotated[str, User.email]) -> Annotated[float, User.score]:
            return 1.0
        first_score = score
        @resolver
        def score(user: Annotated[int, User.id]) -> Annotated[float, User.score]:
            return 1.0
    """,
    "a name that is none": """
        @entity
        class Bad:
            id: Feature[int] = key()
            größe: Feature[int] = feature()
    """,
    "code that fails": """
        1 / 0
    """,
    "code that is none": """
        def def
    """,
}


def _refusal(folder: Path, code: str, name: str = "bad") -> CretaError:
    (folder / "creta.toml").write_text('[project]\nname = "bad"\n')
    (folder / "bad.py").write_text(code)
    try:
        export_project(folder)
    except CretaError as error:
        return error
    raise AssertionError(f"{name} is accepted")


def test_every_mistake_says_what_where_and_what_to_do(
    tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    shown: list[str] = []
    for name, code in MISTAKES.items():
        folder = tmp_path / name.replace(" ", "-")
        folder.mkdir()
        error = _refusal(folder, PRELUDE + textwrap.dedent(code), name)
        assert error.location is not None, name
        assert str(folder) not in str(error)
        shown.append(f"# {name}\n{textwrap.dedent(code).strip()}\n----\n{error}\n")
    golden("mistakes.case", "\n".join(shown))


def test_constants_and_bounds_of_numpy_are_those_of_python(tmp_path: Path) -> None:
    code = """
        @entity
        class Good:
            id: Feature[int] = key()
            x: Feature[float] = feature(default=D, check=Check(min=A, max_length=None))
            y: Feature[bool] = x * B > C
    """
    texts: list[str] = []
    for values in (
        "A, B, C, D = 3, 7, 0.5, 0.25",
        "A, B, C, D = n.int8(3), n.int64(7), n.float32(0.5), n.float16(0.25)",
    ):
        folder = tmp_path / str(len(texts))
        folder.mkdir()
        (folder / "creta.toml").write_text('[project]\nname = "good"\n')
        (folder / "good.py").write_text(
            f"{PRELUDE}import numpy as n\nA, B, C, D = {values}\n{textwrap.dedent(code)}"
        )
        entities = export_project(folder)["graph"]["entities"]
        texts.append(json.dumps([one for one in entities if one["name"] == "Good"]))
    assert texts[0] == texts[1]


CONFIGS = {
    "not TOML": "[project\n",
    "no name": "[project]\n",
    "an unknown key": '[project]\nname = "a"\nmodule = ["features"]\n',
    "a module that is not there": '[project]\nname = "a"\nmodules = ["features"]\n',
    "a module outside": '[project]\nname = "a"\nmodules = ["../other"]\n',
    "a package that is not locked": '[project]\nname = "a"\n[python.packages]\nnumpy = { version = "2.0" }\n',
}


def test_mistakes_in_creta_toml(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    shown: list[str] = []
    with pytest.raises(CretaError) as none:
        export_project(tmp_path)
    shown.append(f"# no creta.toml\n----\n{str(none.value).replace(tmp_path.name, 'FOLDER')}\n")
    for name, text in CONFIGS.items():
        (tmp_path / "creta.toml").write_text(text)
        with pytest.raises(CretaError) as refused:
            export_project(tmp_path)
        shown.append(f"# {name}\n{text.strip()}\n----\n{refused.value}\n")
    golden("config.case", "\n".join(shown))


def test_the_command_prints_one_problem_and_ends_with_2(tmp_path: Path) -> None:
    _refusal(tmp_path, "x = Feature\n")
    printed: list[str] = []
    assert main([str(tmp_path)], printed.append) == 2
    problem = json.loads(printed[0])
    assert (problem["code"], problem["location"]) == ("project/import-failed", {"file": "bad.py", "line": 1})
    assert main([], printed.append) == 2


def test_two_projects_with_the_same_module_names_do_not_mix(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "features").mkdir(parents=True)
        (tmp_path / name / "creta.toml").write_text(f'[project]\nname = "{name}"\n')
        (tmp_path / name / "features" / "shop.py").write_text(
            "from creta import Feature, entity, key\n@entity\n"
            f"class {name.title()}:\n    id: Feature[int] = key()\n"
        )
    names = [
        export_project(tmp_path / name)["graph"]["entities"][0]["name"] for name in ("one", "two", "one")
    ]
    assert names == ["One", "Two", "One"]


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "creta.toml").write_text('[project]\nname = "again"\n')
    file = tmp_path / "again_module.py"
    text = "from creta import Feature, entity, key\n@entity\nclass A:\n    id: Feature[int] = key()\n"
    file.write_text(text)
    export_project(tmp_path)
    first = sys.modules["again_module"]
    export_project(tmp_path)
    assert sys.modules["again_module"] is first
    file.write_text(text.replace("int", "str"))
    assert export_project(tmp_path)["graph"]["entities"][0]["features"][0]["type"] == {"kind": "str"}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("min(1.0, x)", "(min(1.0,  x))"), True),
        (('"""Doc."""', '"""Other."""'), True),
        (("min(1.0, x)", "min(2.0, x)"), False),
        (("LIMIT = 3", "LIMIT = 4"), False),
        (("OTHER = 3", "OTHER = 4"), True),
        (("return x * 2", "return x * 3"), False),
    ],
)
def test_s28_code_is_what_changes_the_answer(tmp_path: Path, change: tuple[str, str], same: bool) -> None:
    text = (
        "from typing import Annotated\nfrom creta import Feature, entity, feature, key, resolver\n"
        "LIMIT = 3\nOTHER = 3\n"
        "@entity\nclass A:\n    id: Feature[int] = key()\n    x: Feature[float] = feature()\n"
        "    y: Feature[float] = feature()\n"
        "def double(x: float) -> float:\n    return x * 2\n"
        "@resolver\ndef y(x: Annotated[float, A.x]) -> Annotated[float, A.y]:\n"
        '    """Doc."""\n    return min(1.0, x) + double(x) + LIMIT\n'
    )
    assert change[0] in text
    (tmp_path / "creta.toml").write_text('[project]\nname = "code"\n')
    codes: list[str] = []
    for version in (text, text.replace(*change)):
        (tmp_path / "code_module.py").write_text(version)
        codes.append(export_project(tmp_path)["graph"]["resolvers"][0]["code"])
    assert (codes[0] == codes[1]) is same
