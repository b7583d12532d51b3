"""Request bodies: read up to a limit, decoded strictly, or streamed with bounded memory.

    read_body      all of it              json_body     checked JSON
    form_or_json   either, as a dict      ndjson_lines  line by line
    blocks         for writers: pieces of a megabyte or more

A compressed body is refused, not inflated: no client of a hub sends one, and a bomb is one.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from headwater.errors import BadRequest, TooLarge
from headwater.names import shown

T = TypeVar("T")

FORM = ("application/x-www-form-urlencoded",)  # for `media=` of a route
FORM_OR_JSON = (*FORM, "application/json")
NDJSON = ("application/x-ndjson",)
JSON_BYTES_MAX = 1 * 2**20  # of a request that describes something; files have their own routes
BLOCK_BYTES = 1 * 2**20
FORM_FIELDS_MAX = 10_000  # paths-info sends one field a path


class EncodedBody(BadRequest):
    """The body came compressed."""

    status = 415
    code = "EncodingNotSupported"


def refuse_encoding(request: Request) -> None:
    """EncodedBody when the body is compressed in any way."""
    for value in request.headers.getlist("content-encoding"):
        if value.strip().lower() not in ("", "identity"):
            raise EncodedBody(
                f"Content-Encoding {shown(value)} is not supported. Send the bytes as they are."
            )


def declared_bytes(request: Request) -> int | None:
    """Content-Length, if one was sent; BadRequest when it is no number."""
    text = request.headers.get("content-length")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise BadRequest(f"Content-Length {shown(text)} is not a size")
    return int(text)


async def pieces(request: Request, limit_bytes: int) -> AsyncIterator[bytes]:
    """The body as it arrives; TooLarge before it grows over the limit."""
    refuse_encoding(request)
    if (declared_bytes(request) or 0) > limit_bytes:
        _too_large(limit_bytes)
    seen_bytes = 0
    async for piece in request.stream():
        seen_bytes += len(piece)
        if seen_bytes > limit_bytes:
            _too_large(limit_bytes)
        if piece:
            yield piece


def _too_large(limit_bytes: int) -> NoReturn:
    raise TooLarge(f"The body is over the limit of {limit_bytes} bytes for this address.")


async def read_body(request: Request, limit_bytes: int = JSON_BYTES_MAX) -> bytes:
    """The whole body."""
    return b"".join([piece async for piece in pieces(request, limit_bytes)])


async def json_body(request: Request, type: type[T], limit_bytes: int = JSON_BYTES_MAX) -> T:
    """The body as a checked `type`; BadRequest says where it is wrong."""
    return decode_json(await read_body(request, limit_bytes), type)


def decode_json(raw: bytes, type: type[T]) -> T:
    """JSON, strictly: no duplicate keys, no NaN, no number out of range, no deep nesting."""
    try:
        value = msgspec.json.decode(raw, type=type)
        check_keys(raw)
    except msgspec.ValidationError as error:
        raise BadRequest(f"The body does not fit: {shown(str(error), 200)}") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRequest(f"The body is not JSON: {shown(str(error), 200)}") from None
    except RecursionError:
        raise BadRequest("The body is nested too deeply.") from None
    return value


def check_keys(raw: bytes) -> None:
    """BadRequest for an object with one key twice, of which msgspec takes the last; ValueError or
    RecursionError for what is wrong in places that msgspec skips."""
    json.loads(raw, object_pairs_hook=_no_duplicates, parse_float=_finite)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is out of range")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) != len({key for key, _ in pairs}):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadRequest(f"The body has the key {shown(twice)} twice.")


async def form_or_json(request: Request, limit_bytes: int = JSON_BYTES_MAX) -> dict[str, Any]:
    """A JSON object, or a form: `a=1&a=2&b=` is then {"a": ["1", "2"], "b": [""]}.

    Newer clients send forms, older and JavaScript ones JSON, to the same addresses.
    """
    raw = await read_body(request, limit_bytes)
    if request.headers.get("content-type", "").lower().startswith("application/json"):
        return decode_json(raw, dict[str, Any])
    return decode_form(raw)


def decode_form(raw: bytes) -> dict[str, Any]:
    """Every field as the list of its values, in order."""
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FORM_FIELDS_MAX,
        )
    except ValueError:
        raise BadRequest(
            f"The form is not urlencoded UTF-8, or has over {FORM_FIELDS_MAX} fields."
        ) from None
    fields: dict[str, Any] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def one_each(fields: dict[str, Any]) -> dict[str, Any]:
    """A form whose fields stand once each, without the lists; BadRequest when one does not."""
    single: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, list):
            if len(value) != 1:
                raise BadRequest(f"The field {shown(name)} was sent more than once.")
            value = value[0]
        single[name] = value
    return single


async def ndjson_lines(
    request: Request, *, line_bytes_max: int, limit_bytes: int
) -> AsyncIterator[tuple[int, bytes]]:
    """(line number from 1, line without its LF); TooLarge names a long one. What follows the last
    LF is a line only if there is something.

    Holds one line and one piece in memory.
    """
    number = 1
    line = bytearray()
    async for piece in pieces(request, limit_bytes):
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            line += piece[start:end]
            _check_line(line, number, line_bytes_max)
            yield number, bytes(line)
            line.clear()
            number += 1
            start = end + 1
        line += piece[start:]
        _check_line(line, number, line_bytes_max)
    if line:
        yield number, bytes(line)


def _check_line(line: bytearray, number: int, line_bytes_max: int) -> None:
    if len(line) > line_bytes_max:
        raise TooLarge(f"Line {number} of the body has over {line_bytes_max} bytes.")


async def blocks(
    request: Request, limit_bytes: int, size_bytes: int = BLOCK_BYTES
) -> AsyncIterator[bytes]:
    """The body in blocks of at least `size_bytes`, the last one excepted: servers hand it over in
    pieces of some kilobytes, and each call into a writer costs a change of threads."""
    waiting: list[bytes] = []
    waiting_bytes = 0
    async for piece in pieces(request, limit_bytes):
        waiting.append(piece)
        waiting_bytes += len(piece)
        if waiting_bytes >= size_bytes:
            yield b"".join(waiting)
            waiting, waiting_bytes = [], 0
    if waiting:
        yield b"".join(waiting)
