"""What only the text of a definition knows: its line, its comments, its normalised code."""

from __future__ import annotations

import ast
import inspect
import linecache
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from creta._errors import Location


@dataclass(frozen=True, slots=True)
class MemberText:
    """Where a member of a class stands and what is said about it."""

    line: int
    doc: str


@lru_cache(maxsize=256)
def _parse(text: str) -> ast.Module | None:
    try:
        return ast.parse(text)
    except SyntaxError:
        return None


def source_of(file: str) -> str | None:
    """The text of a file or notebook cell, `None` when there is none."""
    linecache.checkcache(file)
    return "".join(linecache.getlines(file)) or None


def tree_of(file: str) -> ast.Module | None:
    """The parsed text of a file or notebook cell, `None` when there is none."""
    text = source_of(file)
    return _parse(text) if text is not None else None


def class_node(at: Location, name: str) -> ast.ClassDef | None:
    """The class statement of that name whose decorators or header stand at `at`."""
    tree = tree_of(at.file)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= at.line <= node.lineno:
                return node
    return None


def function_node(function: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The statement that defined a function, `None` when its text is not available."""
    code = function.__code__
    tree = tree_of(code.co_filename)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def member_texts(file: str, node: ast.ClassDef) -> dict[str, MemberText]:
    """Line and description of each annotated member: the string right below it, or the comment lines right
    above."""
    lines = (source_of(file) or "").splitlines()
    found: dict[str, MemberText] = {}
    for position, statement in enumerate(node.body):
        target = _target(statement)
        if target is None:
            continue
        following = node.body[position + 1] if position + 1 < len(node.body) else None
        doc = _string(following) if following is not None else None
        found[target] = MemberText(
            statement.lineno, doc if doc is not None else _comment_above(lines, statement.lineno)
        )
    return found


def _target(statement: ast.stmt) -> str | None:
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id
    if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        return statement.targets[0].id
    return None


def _string(statement: ast.stmt) -> str | None:
    value = statement.value if isinstance(statement, ast.Expr) else None
    text = value.value if isinstance(value, ast.Constant) else None
    return inspect.cleandoc(text) if isinstance(text, str) else None


def _comment_above(lines: list[str], line: int) -> str:
    comments: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.strip().startswith("#"):
            break
        comments.insert(0, text.strip().lstrip("#").strip())
    return " ".join(comments)
