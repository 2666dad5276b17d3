"""Each line below with `error` must be refused by pyright and by mypy, and no other."""

from __future__ import annotations

from creta import Feature, Many, One, Windowed, days, entity, feature, key, many, mean, one


@entity
class Flight:
    id: Feature[int] = key()
    carrier: Feature[str] = feature()
    delay: Feature[float | None] = feature()
    wrong_default: Feature[int] = feature(default="many")  # error
    null_forgotten: Feature[float] = delay + 1  # error
    wrong_result: Feature[str] = id + 1  # error
    operator: One[Carrier] = one(on=lambda: (Flight.carrier, Carrier.code))


@entity
class Carrier:
    code: Feature[str] = key()
    flights: Many[Flight] = many(on=lambda: (Carrier.code, Flight.carrier))
    delay_mean: Windowed[float] = mean(flights[Flight.delay], last=days(1))
    of_texts: Windowed[float] = mean(flights[Flight.carrier], last=days(1))  # error
    not_a_condition: Windowed[float] = mean(flights[Flight.delay], where=Flight.id, last=days(1))  # error


a = Flight.carrier + 1  # error
b = Flight.carrier > 1  # error
c = Flight.id.lower()  # error
d = Flight.operator.delay_meen  # error
e = Carrier.delay_mean + 1  # error
f = Carrier.delay_mean["1d"]  # error
