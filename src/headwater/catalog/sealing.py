"""Secrets that must be read again: sealed in the database with a key that is not in it.

    sealer.seal("text", "webhook 65f…")     -> text for a column
    sealer.open(sealed, "webhook 65f…")     the text; Corrupt when it was sealed for another place

AES-256-GCM under a key derived (HKDF, SHA-256) from the hub's secret, which lies in the data
folder: a dump of the database tells nothing, and a sealed text moved to another row does not open.
"""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from headwater.errors import Corrupt

NONCE_BYTES = 12  # GCM's own size; random, far below the number of seals that would repeat one
_PURPOSE = b"headwater sealed secrets 1"


class Sealer:
    def __init__(self, secret: bytes) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secret)
        self._cipher = AESGCM(key)

    def seal(self, text: str, about: str) -> str:
        """`text` for keeping; `about` names where it is kept."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, text.encode(), about.encode())
        return base64.b64encode(sealed).decode()

    def open(self, sealed: str, about: str) -> str:
        """What was sealed. Corrupt when this hub's secret, or `about`, is another one."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            nonce, rest = raw[:NONCE_BYTES], raw[NONCE_BYTES:]
            return self._cipher.decrypt(nonce, rest, about.encode()).decode()
        except (InvalidTag, ValueError):
            raise Corrupt(
                f"the secret of {about} does not open with this hub's key; set it anew"
            ) from None
