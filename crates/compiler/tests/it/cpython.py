"""Runs generated programs in CPython: one JSON object a line in, one out.

In: `source` with a function `f`, `rows` of encoded arguments, `probe`: rows for which to say what compiled code gave up
for. Out: `answers`: an encoded value or `["raises", name]`, and `probed`: for each probed row, whether an int beyond 64 bits, a
complex number or a very long value came up while it ran.
"""

import ast
import json
import resource
import struct
import sys
import warnings
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Probe(ast.NodeTransformer):
    """Wraps every expression that is read in a call of `_probe`."""

    def visit(self, node):
        if isinstance(node, ast.AugAssign):
            read = ast.Name(node.target.id, ast.Load())
            node = ast.Assign([node.target], ast.BinOp(read, node.op, node.value))
        if isinstance(node, ast.JoinedStr):
            node.values = [
                ast.FormattedValue(self.visit(v.value), v.conversion, v.format_spec) if isinstance(v, ast.FormattedValue) else v
                for v in node.values
            ]
        elif isinstance(node, ast.Slice) or not isinstance(node, ast.pattern):
            self.generic_visit(node)
        wrapped = isinstance(node, ast.expr) and not isinstance(node, ast.Slice | ast.Starred | ast.FormattedValue)
        if wrapped and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
            return ast.copy_location(ast.Call(ast.Name("_probe", ast.Load()), [node], []), node)
        return node


def decode(value, module):
    kind, *rest = value
    match kind:
        case "none":
            return None
        case "bool" | "str":
            return rest[0]
        case "int":
            return int(rest[0])
        case "float":
            if rest[0] == "nan":
                return float("nan")
            return struct.unpack(">d", bytes.fromhex(rest[0]))[0]
        case "date":
            return date.fromordinal(rest[0] + 719163)
        case "datetime":
            return EPOCH + timedelta(microseconds=int(rest[0]))
        case "timedelta":
            return timedelta(microseconds=int(rest[0]))
        case "enum":
            return module["Sky"](rest[0])
        case "list":
            return [decode(item, module) for item in rest[0]]
        case "tuple":
            return tuple(decode(item, module) for item in rest[0])
        case "struct":
            return module["Point"](*(decode(item, module) for item in rest[0]))
    raise AssertionError(kind)


def encode(value):
    if value is None:
        return ["none"]
    if type(value) is bool:
        return ["bool", value]
    if type(value) is int:
        return ["int", str(value) if abs(value) < 1 << 200 else "huge"]
    if type(value) is float:
        return ["float", "nan" if value != value else struct.pack(">d", value).hex()]
    if type(value) is str:
        return ["str", value]
    if type(value) is datetime:
        return ["datetime", str((value - EPOCH) // MICROSECOND)]
    if type(value) is date:
        return ["date", value.toordinal() - 719163]
    if type(value) is timedelta:
        return ["timedelta", str(value // MICROSECOND)]
    if isinstance(value, Enum):
        return ["enum", value.value]
    if type(value) is list:
        return ["list", [encode(item) for item in value]]
    if type(value) is tuple:
        return ["tuple", [encode(item) for item in value]]
    if type(value).__name__ == "Point":
        return ["struct", [encode(value.x), encode(value.y)]]
    return [type(value).__name__]


def outcome(function, row):
    try:
        return encode(function(*row))
    except Exception as error:
        return ["raises", type(error).__name__]


def main():
    warnings.simplefilter("ignore", SyntaxWarning)
    # Texts and lists that would not fit are a MemoryError here, and beyond compiled code there.
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
    for line in sys.stdin:
        asked = json.loads(line)
        module = {"__name__": "features"}
        exec(compile(asked["source"], "features.py", "exec"), module)
        rows = [[decode(value, module) for value in row] for row in asked["rows"]]
        answers = [outcome(module["f"], row) for row in rows]
        probed = []
        if asked["probe"]:
            seen = []

            def probe(value):
                if isinstance(value, int | complex) and (isinstance(value, complex) or not -(2**63) <= value < 2**63):
                    seen.append("number")
                elif isinstance(value, timedelta) and abs(value // MICROSECOND) >= 2**63:
                    seen.append("number")
                elif isinstance(value, str) and (len(value) > 4_000_000 or not value.isascii()):
                    seen.append("text")
                elif isinstance(value, float) and value != value:
                    seen.append("nan")
                elif isinstance(value, list | tuple):
                    for item in value:
                        probe(item)
                return value

            tree = ast.fix_missing_locations(Probe().visit(ast.parse(asked["source"])))
            watched = {"__name__": "features", "_probe": probe}
            exec(compile(tree, "features.py", "exec"), watched)
            for row in asked["probe"]:
                seen.clear()
                outcome(watched["f"], [decode(value, watched) for value in asked["rows"][row]])
                probed.append(sorted(set(seen)))
        print(json.dumps({"answers": answers, "probed": probed}), flush=True)


main()
