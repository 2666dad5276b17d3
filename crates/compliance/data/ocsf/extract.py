"""Takes from an export of the OCSF schema the facts that Creta's events need, in the form `creta.ocsf/1`.

    python extract.py SCHEMA.json > 1.7.json

SCHEMA.json is the whole compiled schema, profiles included, with the members `version`, `types`, `classes`
and `objects`. Kept are names, types, permitted numbers and what is required; descriptions are not. Attributes
whose type is not kept, and those of other profiles, are left out: an event that uses one is refused although
OCSF would permit it.
"""

import json
import sys

CLASSES = [
    "account_change",
    "api_activity",
    "application_lifecycle",
    "authentication",
    "compliance_finding",
    "datastore_activity",
    "detection_finding",
    "entity_management",
]
OBJECTS = [
    "account",
    "actor",
    "api",
    "authorization",
    "check",
    "compliance",
    "databucket",
    "evidences",
    "fingerprint",
    "finding_info",
    "managed_entity",
    "metadata",
    "network_endpoint",
    "organization",
    "policy",
    "product",
    "resource_details",
    "service",
    "user",
]
# How a scalar looks in JSON. `object` is the open object of attributes that have no place in the schema.
SCALARS = {
    "boolean_t": "boolean",
    "file_hash_t": "hexadecimal",
    "integer_t": "integer",
    "json_t": "anything",
    "long_t": "integer",
    "object": "object",
    "resource_uid_t": "text",
    "string_t": "text",
    "timestamp_t": "integer",
    "username_t": "text",
}
PROFILE = "security_control"


def attribute(name: str, given: dict) -> dict | None:
    """One attribute, or None where Creta has no use for it."""
    kind = given.get("object_type") or given["type"]
    profile = given.get("profile")
    if kind not in SCALARS.keys() | OBJECTS or profile not in (None, PROFILE):
        return None
    kept: dict = {"is": kind}
    if given.get("is_array"):
        kept["list"] = True
    if given["requirement"] == "required":
        kept["required"] = True
    if profile:
        kept["profile"] = profile
    if (
        given.get("enum")
        and SCALARS.get(kind) == "integer"
        and name not in ("class_uid", "category_uid", "type_uid")
    ):
        kept["in"] = {number: given["enum"][number]["caption"] for number in sorted(given["enum"], key=int)}
        if given.get("sibling"):
            kept["named"] = given["sibling"]
    return kept


def attributes(given: dict) -> dict:
    """All attributes of a class or an object."""
    found = {name: attribute(name, value) for name, value in sorted(given["attributes"].items())}
    return {name: value for name, value in found.items() if value}


def main() -> None:
    """Reads the schema, writes the facts: one attribute a line."""
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    classes, objects = {}, {}
    for name in CLASSES:
        given = schema["classes"][name]
        classes[name] = {
            "uid": given["uid"],
            "caption": given["caption"],
            "category_uid": given["category_uid"],
            "category_name": given["category_name"],
            "constraints": given.get("constraints") or {},
            "attributes": attributes(given),
        }
    for name in OBJECTS:
        given = schema["objects"][name]
        objects[name] = {"constraints": given.get("constraints") or {}, "attributes": attributes(given)}
    for group in (classes, objects):
        for shape in group.values():
            shape["constraints"] = {
                rule: [name for name in names if name in shape["attributes"]]
                for rule, names in shape["constraints"].items()
            }
    head = {"format": "creta.ocsf/1", "version": schema["version"], "profile": PROFILE, "scalars": SCALARS}
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
    for title, group in (("classes", classes), ("objects", objects)):
        shapes = []
        for name, shape in group.items():
            rest = [
                f"   {json.dumps(key)}: {json.dumps(value)}"
                for key, value in shape.items()
                if key != "attributes"
            ]
            own = [
                f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in shape["attributes"].items()
            ]
            rest.append('   "attributes": {\n' + ",\n".join(own) + "\n   }")
            shapes.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(rest) + "\n  }")
        lines.append(f' "{title}": {{\n' + ",\n".join(shapes) + "\n }")
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
