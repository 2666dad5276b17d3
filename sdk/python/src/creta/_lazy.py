"""Modules that are imported when they are needed, so that definitions and workers stay light."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def pyarrow() -> Any:
    """`pyarrow`, untyped: its functions take almost anything."""
    return import_module("pyarrow")


def module(name: str) -> Any:
    """A module by its dotted name."""
    return import_module(name)
