"""In a module of its own, which needs the other one."""

from creta import Feature, entity, feature, key


@entity
class Place:
    user: Feature[int] = key()
    name: Feature[str] = key(event_id=True)
    city: Feature[str | None] = feature()
