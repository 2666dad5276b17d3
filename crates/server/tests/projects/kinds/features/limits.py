"""A module whose constants have the names of another's."""

LIMIT = 40
SHARE = 0.25


def capped(amount: float) -> float:
    """At most the limit of this module."""
    return min(amount, LIMIT) * SHARE


def picked(numbers: list[int], at: int) -> int:
    """Raises where there is none."""
    if at > LIMIT:
        raise LookupError(at)
    return numbers[at]
