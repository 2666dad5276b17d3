"""Small frozen types that group options of declarations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Bounds on a feature's values, checked when they come in and when resolvers answer.

    All inclusive.
    """

    min: float | None = None
    """Smallest permitted number."""

    max: float | None = None
    """Largest permitted number."""

    min_length: int | None = None
    """Fewest characters, bytes or items."""

    max_length: int | None = None
    """Most characters, bytes or items."""

    pattern: str | None = None
    """Regular expression the whole text must match, without look-around and back-references."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What people and the registry need to know about a feature, beyond its meaning."""

    owner: str | None = None
    """Who answers for it, where that is not the entity's owner."""

    deprecated: str | None = None
    """What to use instead."""
    version: int = 1
    """Raised by hand when the meaning changes without the definition changing."""

    renamed_from: str | None = None
    """The name it had before, so that its history is kept."""
