"""Signatures of a bundle's manifest, by OpenSSF Model Signing: with a key, without any network.

    sign(manifest, key)                the bytes of `manifest.sig`
    verify(manifest, signature, key)   Forbidden unless that key signed exactly these bytes

The signature is one of a folder that holds `manifest.json` and nothing else, so that
`model_signing verify key` proves it without our help. The manifest has the SHA-256 of every member:
it covers all of the bundle, also the dotfiles that Model Signing leaves out of a folder.
"""

from __future__ import annotations

import base64
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from headwater.bundle.manifest import NAME, SIGNATURE
from headwater.errors import BadRequest, Forbidden, Refused

_MISSING = (
    "signatures need the package `model-signing`, which is not installed: "
    "pip install 'headwater[signing]'"
)


def sign(manifest: bytes, key: Path) -> bytes:
    """BadRequest when the key (PEM, on P-256, P-384 or P-521, not encrypted) cannot be used;
    Refused when Model Signing is not installed."""
    signing, _ = _model_signing()
    with _laid_out(manifest) as folder:
        path = folder / SIGNATURE
        try:
            config = signing.Config().use_elliptic_key_signer(private_key=key)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise BadRequest(f"the key in {key.name} cannot sign: {error}") from None
        config.sign(folder / "bundle", path)
        return path.read_bytes()


def verify(manifest: bytes, signature: bytes, key: Path) -> None:
    """BadRequest when the public key (PEM) cannot be used."""
    _, verifying = _model_signing()
    with _laid_out(manifest) as folder:
        path = folder / SIGNATURE
        path.write_bytes(signature)
        try:
            config = verifying.Config().use_elliptic_key_verifier(public_key=key)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise BadRequest(f"the key in {key.name} cannot verify: {error}") from None
        try:
            config.verify(folder / "bundle", path)
            covered = _covered(signature)
        except Exception as error:  # whatever a hostile signature makes its parsers raise
            raise Forbidden(
                f"the signature does not hold: {error or type(error).__name__}"
            ) from None
    if covered != [(NAME, sha256(manifest).hexdigest())]:
        raise Forbidden("the signature does not hold: it does not cover the manifest")


def _covered(signature: bytes) -> list[tuple[str, str]]:
    """(name, SHA-256) of each file that a signature, verified by now, speaks of."""
    statement: Any = json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))
    return [(row["name"], row["digest"]) for row in statement["predicate"]["resources"]]


@contextmanager
def _laid_out(manifest: bytes) -> Iterator[Path]:
    """A folder that holds a folder `bundle` with the manifest."""
    with tempfile.TemporaryDirectory(prefix="headwater-") as text:
        folder = Path(text)
        (folder / "bundle").mkdir()
        (folder / "bundle" / NAME).write_bytes(manifest)
        yield folder


def _model_signing() -> tuple[ModuleType, ModuleType]:
    """Imported when it is needed: it takes more than a second, and is an extra."""
    try:
        from model_signing import signing, verifying
    except ImportError:
        raise Refused(_MISSING) from None
    return signing, verifying
