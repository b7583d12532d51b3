"""Requests made from the hub's own document: each operation with sensible values and a sound body.

    for op in operations(document): op.url(values), op.body(values)

What is made here is plain and legal; the tests beside it change one thing and look.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

DEPTH_MAX = 8  # of a schema that refers to itself
VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Operation:
    method: str
    path: str
    raw: dict[str, Any]
    schemas: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def variables(self) -> list[str]:
        return VARIABLE.findall(self.path)

    @property
    def query(self) -> list[str]:
        return [p["name"] for p in self.raw["parameters"] if p["in"] == "query"]

    @property
    def statuses(self) -> set[int]:
        return {int(status) for status in self.raw["responses"]}

    @property
    def media(self) -> list[str]:
        return list(self.raw.get("requestBody", {}).get("content", {}))

    @property
    def json_media(self) -> str | None:
        """The JSON kind of its body, if it takes one."""
        content = self.raw.get("requestBody", {}).get("content", {})
        described = (media for media, body in content.items() if "schema" in body)
        return next((media for media in described if media.endswith("json")), None)

    def url(self, values: dict[str, str]) -> str:
        """The address with these values; what is not among them is a word of no meaning."""
        return VARIABLE.sub(lambda m: quote(values.get(m[1], "word"), safe=""), self.path)

    def body(self, values: dict[str, Any]) -> Any:
        """The least JSON body that fits its schema, fields that `values` names being those."""
        media = self.json_media
        if media is None:
            return None
        return least(self.raw["requestBody"]["content"][media]["schema"], self.schemas, values)


def operations(document: dict[str, Any]) -> Iterator[Operation]:
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for method, raw in methods.items():
            yield Operation(method.upper(), path, raw, schemas)


def least(schema: Any, schemas: dict[str, Any], values: dict[str, Any], depth: int = 0) -> Any:
    """The least value of a JSON schema, as msgspec writes them."""
    if depth > DEPTH_MAX or not schema:
        return None
    if "$ref" in schema:
        return least(schemas[schema["$ref"].rpartition("/")[2]], schemas, values, depth + 1)
    if "anyOf" in schema:
        return least(schema["anyOf"][0], schemas, values, depth + 1)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            required = schema.get("required", ())
            fields = schema.get("properties", {})
            return {
                name: values.get(name, least(field, schemas, values, depth + 1))
                for name, field in fields.items()
                if name in required or name in values
            }
        case "array":
            prefix = schema.get("prefixItems", ())
            items = [least(item, schemas, values, depth + 1) for item in prefix]
            more = schema.get("minItems", 0) - len(items)
            return items + [least(schema.get("items"), schemas, values, depth + 1)] * max(0, more)
        case "string":
            return "word"
        case "integer" | "number":
            return max(1, schema.get("minimum", 1))
        case "boolean":
            return False
    return None


def one_of_each(found: Iterator[Operation]) -> list[Operation]:
    """Without the spellings of one operation for other types of repo."""

    def same(op: Operation) -> tuple[str, str]:
        return op.method, re.sub(r"^/(datasets|spaces|kernels)/", "/", op.path)

    ordered = sorted(found, key=lambda op: (same(op), len(op.path)))
    return [next(group) for _, group in itertools.groupby(ordered, key=same)]
