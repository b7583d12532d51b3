"""Signed tokens: a payload that only this hub can have written, for one purpose and some minutes.

    token = base64url( MAC (16 bytes) + msgpack [expiry in Unix seconds, payload] )

The MAC is HMAC-SHA256 under a key made from the secret and the purpose, cut to 128 bits as RFC
2104 allows (forging is guessing online). A token for one purpose never opens as another. The
payload is signed, not hidden.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headwater.errors import Forbidden, Refused

SECRET_BYTES_MIN = 32
MAC_BYTES = 16
TOKEN_CHARS_MAX = 4096  # fits an address; longer ones are not ours


def _plain(value: Any) -> Any:
    if isinstance(value, str):  # Digest and its sisters
        return str.__str__(value)
    raise NotImplementedError(f"{type(value).__name__} cannot go into a token")


class Signer:
    """Makes and opens tokens. Workers that share `secret` open each other's."""

    def __init__(self, secret: bytes, now: Callable[[], float] = time.time) -> None:
        if len(secret) < SECRET_BYTES_MIN:
            raise Refused(f"the signing secret has {len(secret)} bytes; {SECRET_BYTES_MIN} needed")
        self._secret = secret
        self._now = now
        self._encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
        self._decode = msgspec.msgpack.Decoder(tuple[int, dict[str, Any]]).decode

    def sign(self, purpose: str, payload: Mapping[str, Any], ttl_s: int) -> str:
        """A URL-safe token that `open` takes for `ttl_s` seconds."""
        body = self._encode((int(self._now()) + ttl_s, payload))
        token = base64.urlsafe_b64encode(self._mac(purpose, body) + body)
        return token.rstrip(b"=").decode("ascii")

    def open(self, purpose: str, token: str) -> dict[str, Any]:
        """The payload; Forbidden when the token is not ours, of another purpose, or too old."""
        if len(token) > TOKEN_CHARS_MAX or not token.isascii():
            raise Forbidden("This link is not valid. Ask the hub for a new one.")
        try:
            padded = token + "=" * (-len(token) % 4)
            raw = base64.b64decode(padded, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise Forbidden("This link is not valid. Ask the hub for a new one.") from None
        mac, body = raw[:MAC_BYTES], raw[MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(purpose, body)):
            raise Forbidden("This link is not valid. Ask the hub for a new one.")
        expires_s, payload = self._decode(body)
        if self._now() >= expires_s:
            raise Forbidden("This link has expired. Ask the hub for a new one.")
        return payload

    def fingerprint(self, purpose: str, payload: Mapping[str, Any]) -> str:
        """32 hex digits that stand for `payload`; nobody without the secret can make them."""
        body = msgspec.msgpack.encode(payload, enc_hook=_plain, order="sorted")
        return self._mac("fingerprint:" + purpose, body).hex()

    def _mac(self, purpose: str, body: bytes) -> bytes:
        key = hmac.digest(self._secret, b"headwater token:" + purpose.encode(), hashlib.sha256)
        return hmac.digest(key, body, hashlib.sha256)[:MAC_BYTES]
