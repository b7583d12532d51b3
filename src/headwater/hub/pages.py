"""Query strings and cursors: what a client may ask, bounded."""

from __future__ import annotations

import base64
import binascii
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from headwater.errors import BadRequest
from headwater.names import shown

LIMIT_MAX = 1000
CURSOR_CHARS_MAX = 4096
T = TypeVar("T")


def flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in ("true", "1")


def limit_of(request: Request, default: int) -> int:
    """`limit=` clamped to 1…LIMIT_MAX; BadRequest when it is no number."""
    text = request.query_params.get("limit")
    if not text:
        return default
    if not text.isascii() or not text.lstrip("-").isdigit() or len(text) > 20:
        raise BadRequest(f"limit {shown(text)} is not a number")
    return max(1, min(int(text), LIMIT_MAX))


def encode_cursor(value: Any) -> str:
    raw = msgspec.json.encode(value, enc_hook=str)
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_cursor(text: str, type: type[T]) -> T:
    """What `encode_cursor` was given; BadRequest for anything else."""
    try:
        if len(text) > CURSOR_CHARS_MAX:
            raise ValueError
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(raw, type=type)
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise BadRequest("this cursor is not one of ours; start from the first page") from None
