"""Lengths of time and instants, and their text forms."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from creta._errors import CretaError, problem_here

_UNITS = (
    (86_400_000_000, "d"),
    (3_600_000_000, "h"),
    (60_000_000, "m"),
    (1_000_000, "s"),
    (1_000, "ms"),
    (1, "us"),
)
_MICROSECOND = timedelta(microseconds=1)


def seconds(n: int) -> timedelta:
    """`n` seconds."""
    return timedelta(seconds=n)


def minutes(n: int) -> timedelta:
    """`n` minutes."""
    return timedelta(minutes=n)


def hours(n: int) -> timedelta:
    """`n` hours."""
    return timedelta(hours=n)


def days(n: int) -> timedelta:
    """`n` times 86,400 seconds, whatever clocks on walls do (rule S16)."""
    return timedelta(days=n)


def span_text(span: timedelta) -> str:
    """The length in its largest whole unit: `7d`, `90m`, `250ms`.

    Negative lengths are refused.
    """
    micros = span // _MICROSECOND
    if micros < 0:
        raise problem_here("definition/negative-span", "a length of time must not be negative")
    if micros == 0:
        return "0s"
    return next(f"{micros // factor}{unit}" for factor, unit in _UNITS if micros % factor == 0)


def parse_span(text: str) -> timedelta:
    """Reads what `span_text` writes; `ValueError` for anything else."""
    digits = len(text) - len(text.lstrip("0123456789"))
    for factor, unit in _UNITS:
        if digits and text[digits:] == unit:
            return timedelta(microseconds=int(text[:digits]) * factor)
    raise ValueError("a length of time is written as `7d`, `6h`, `15m`, `30s`, `250ms` or `5us`")


def instant_text(at: datetime, what: str = "this datetime") -> str:
    """RFC 3339 in UTC with `Z`; microseconds only where they are not zero.

    Naive datetimes are refused (rule S15).
    """
    if at.tzinfo is None or at.utcoffset() is None:
        raise naive(what)
    utc = at.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds" if utc.microsecond else "seconds") + "Z"


def parse_instant(text: str) -> datetime:
    """Reads what `instant_text` writes, as an aware datetime in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def naive(what: str) -> CretaError:
    """The refusal of rule S15, with its remedy."""
    return problem_here(
        "time/naive",
        f"{what} has no time zone",
        "say which: `.replace(tzinfo=timezone.utc)` when it is UTC, or "
        '`.replace(tzinfo=ZoneInfo("America/New_York"))` for a local clock',
    )


def is_plain_date(value: object) -> bool:
    """Whether it is a day and not an instant (`datetime` is a subclass of `date`)."""
    return isinstance(value, date) and not isinstance(value, datetime)
