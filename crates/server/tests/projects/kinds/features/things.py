"""One resolver for each kind of value, and for each way to have none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Annotated

from creta import Feature, Now, entity, event_time, feature, key, resolver
from features.limits import capped, picked

LIMIT = 3
SHARE = 0.5
NAMES = frozenset({"Ana", "", "日本語"})


class Sky(Enum):
    FINE = "fine"
    ROUGH = "rough"


@dataclass(frozen=True)
class Point:
    x: float
    y: float | None


@entity
class Thing:
    id: Feature[int] = key()
    seen: Feature[datetime] = event_time()
    n: Feature[int] = feature()
    m: Feature[int | None] = feature()
    a: Feature[float] = feature()
    b: Feature[float | None] = feature()
    text: Feature[str] = feature()
    word: Feature[str | None] = feature()
    flag: Feature[bool] = feature()
    day: Feature[date] = feature()
    at: Feature[datetime] = feature()
    took: Feature[timedelta] = feature()
    numbers: Feature[list[int]] = feature()
    words: Feature[list[str | None]] = feature()
    sky: Feature[Sky] = feature()
    where: Feature[Point] = feature()

    arithmetic: Feature[float] = feature()
    whole: Feature[int] = feature()
    powers: Feature[float] = feature()
    constants: Feature[float] = feature()
    rounded: Feature[float | None] = feature()
    compared: Feature[bool] = feature()
    shouted: Feature[str] = feature()
    sliced: Feature[str | None] = feature()
    formatted: Feature[str] = feature()
    weekday: Feature[int] = feature()
    later: Feature[datetime] = feature()
    age: Feature[timedelta] = feature()
    hour: Feature[int] = feature()
    total: Feature[int] = feature()
    joined: Feature[str] = feature()
    squares: Feature[list[int]] = feature()
    condition: Feature[Sky] = feature()
    moved: Feature[Point] = feature()
    distance: Feature[float] = feature()
    item: Feature[int] = feature()
    low: Feature[float] = feature()
    high: Feature[float | None] = feature()
    nothing: Feature[int] = feature()
    mistaken: Feature[float] = feature()
    half: Feature[float] = feature()
    member: Feature[Sky] = feature()
    huge: Feature[int] = feature()
    intermediate: Feature[int] = feature()
    guarded: Feature[float] = feature()
    counted: Feature[int] = feature()
    matched: Feature[str] = feature()
    since: Feature[float] = feature()
    parsed: Feature[int] = feature()


@resolver
def arithmetic(n: Annotated[int, Thing.n], a: Annotated[float, Thing.a]) -> Annotated[float, Thing.arithmetic]:
    return (n - 2 * a) / (a + 0.5) + n % 7 - a // 3


@resolver
def whole(n: Annotated[int, Thing.n], m: Annotated[int | None, Thing.m]) -> Annotated[int, Thing.whole]:
    if m is None:
        return n
    return n // m * 10 + n % m


@resolver
def powers(a: Annotated[float, Thing.a], n: Annotated[int, Thing.n]) -> Annotated[float, Thing.powers]:
    scaled = abs(a) ** 0.5 + math.log(
        a
    )
    return scaled - n ** 2 / 3


@resolver
def constants(a: Annotated[float, Thing.a]) -> Annotated[float, Thing.constants]:
    return capped(a) + LIMIT * SHARE


@resolver
def rounded(b: Annotated[float | None, Thing.b], n: Annotated[int, Thing.n]) -> Annotated[float | None, Thing.rounded]:
    return None if b is None else round(b, n % 5)


@resolver
def compared(n: Annotated[int, Thing.n], a: Annotated[float, Thing.a], b: Annotated[float | None, Thing.b]) -> Annotated[bool, Thing.compared]:
    return n < a <= (b or 1.5) or not (a != b and n)


@resolver
def shouted(text: Annotated[str, Thing.text]) -> Annotated[str, Thing.shouted]:
    return text.strip().upper() + "!" if text not in NAMES else text


@resolver
def sliced(text: Annotated[str, Thing.text], word: Annotated[str | None, Thing.word]) -> Annotated[str | None, Thing.sliced]:
    return (word or text)[1:-1] or None


@resolver
def formatted(text: Annotated[str, Thing.text], a: Annotated[float, Thing.a], n: Annotated[int, Thing.n]) -> Annotated[str, Thing.formatted]:
    return f"{text[:3]!r:>8}|{a:.2f}|{n:,}|{a!r}"


@resolver
def weekday(day: Annotated[date, Thing.day]) -> Annotated[int, Thing.weekday]:
    return day.weekday() * 100 + day.month


@resolver
def later(at: Annotated[datetime, Thing.at], took: Annotated[timedelta, Thing.took]) -> Annotated[datetime, Thing.later]:
    return at + took


@resolver
def age(at: Annotated[datetime, Thing.at], now: Annotated[datetime, Now]) -> Annotated[timedelta, Thing.age]:
    return now - at


@resolver
def hour(at: Annotated[datetime, Thing.at]) -> Annotated[int, Thing.hour]:
    return at.hour * 60 + at.minute if at > datetime(2025, 3, 30, 1, tzinfo=UTC) else -at.hour


@resolver
def total(numbers: Annotated[list[int], Thing.numbers]) -> Annotated[int, Thing.total]:
    result = 0
    for number in numbers:
        if number % 2:
            continue
        result += number
    return result


@resolver
def joined(words: Annotated[list[str | None], Thing.words]) -> Annotated[str, Thing.joined]:
    return ", ".join(word for word in words if word)


@resolver
def squares(numbers: Annotated[list[int], Thing.numbers]) -> Annotated[list[int], Thing.squares]:
    return [number * number for number in numbers if number > -LIMIT]


@resolver
def condition(sky: Annotated[Sky, Thing.sky], a: Annotated[float, Thing.a]) -> Annotated[Sky, Thing.condition]:
    return Sky.ROUGH if sky is Sky.ROUGH or a > 40 else Sky.FINE


@resolver
def moved(where: Annotated[Point, Thing.where], a: Annotated[float, Thing.a]) -> Annotated[Point, Thing.moved]:
    return Point(where.x + a, None if a > 10 else where.y)


@resolver
def distance(where: Annotated[Point, Thing.where]) -> Annotated[float, Thing.distance]:
    return math.sqrt(where.x * where.x + where.y * where.y)


@resolver
def item(numbers: Annotated[list[int], Thing.numbers], n: Annotated[int, Thing.n]) -> Annotated[int, Thing.item]:
    return picked(numbers, n)


@resolver
def bounds(
    a: Annotated[float, Thing.a], b: Annotated[float | None, Thing.b]
) -> tuple[Annotated[float, Thing.low], Annotated[float | None, Thing.high]]:
    if b is None:
        return a, None
    return min(a, b), max(a, b)


@resolver
def nothing(n: Annotated[int, Thing.n]) -> Annotated[int, Thing.nothing]:
    if n > 0:
        return n


@resolver
def mistaken(n: Annotated[int, Thing.n], text: Annotated[str, Thing.text]) -> Annotated[float, Thing.mistaken]:
    return text if n % 2 else n > 0 if n % 3 else n


@resolver
def member(text: Annotated[str, Thing.text], flag: Annotated[bool, Thing.flag]) -> Annotated[Sky, Thing.member]:
    return Sky(text) if flag else text


@resolver
def huge(n: Annotated[int, Thing.n]) -> Annotated[int, Thing.huge]:
    return n * n * 1_000


@resolver
def intermediate(n: Annotated[int, Thing.n]) -> Annotated[int, Thing.intermediate]:
    return (n * 1_000_000_007 * 1_000_000_007) % 998_244_353


@resolver
def guarded(a: Annotated[float, Thing.a], n: Annotated[int, Thing.n]) -> Annotated[float, Thing.guarded]:
    if n == 13:
        raise ValueError(f"never {n}")
    assert a == a, "NaN"
    return (
        a
        / (n - 1)
    )


@resolver
def counted(n: Annotated[int, Thing.n]) -> Annotated[int, Thing.counted]:
    found = 0
    for one in range(n % 50):
        for other in range(one):
            if one * other % 7 == 3:
                found += 1
    return found


@resolver
def matched(word: Annotated[str | None, Thing.word]) -> Annotated[str, Thing.matched]:
    match word:
        case "a" | "A":
            return "letter"
        case None:
            return "none"
        case other:
            return other.title()


@resolver
def since(took: Annotated[timedelta, Thing.took], flag: Annotated[bool, Thing.flag]) -> Annotated[float, Thing.since]:
    return took.total_seconds() / 60 if flag else took / timedelta(hours=1)


@resolver
def parsed(text: Annotated[str, Thing.text]) -> Annotated[int, Thing.parsed]:
    return int(text)


@resolver(frame="arrow")
def half(a: Annotated[object, Thing.a]) -> Annotated[object, Thing.half]:
    return a
