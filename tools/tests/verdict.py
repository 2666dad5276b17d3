"""What the verifier said."""

# pyright: strict

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    code: int
    lines: list[str]

    @property
    def last(self) -> str:
        return self.lines[-1]


Run = Callable[..., Verdict]


def refused(verdict: Verdict, *words: str) -> None:
    """Not verified, and the lines before the verdict or the verdict itself name why."""
    assert verdict.code == 1, verdict.lines
    for word in words:
        assert any(word in line for line in verdict.lines), (word, verdict.lines)
