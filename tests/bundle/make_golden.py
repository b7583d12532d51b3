"""Writes `golden/<bundle version>/` anew: only before a release, never for one that is out.

    python tests/bundle/make_golden.py

The key that signs is thrown away: what it proves can be read for good, and never made again.
"""

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from bundle_kit import hub, make_repo, moved, out, put_large, safetensors, weights  # noqa: E402
from cryptography.hazmat.primitives import serialization as s  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402

from headwater.bundle.manifest import VERSION  # noqa: E402


def main() -> None:
    folder = HERE / "golden" / str(VERSION)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bundle.tar").unlink(missing_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(public)
    with tempfile.TemporaryDirectory() as text:
        private = Path(text, "key.pem")
        private.write_bytes(
            key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        )
        floors = hub(Path(text, "data"), "ann")
        repo = make_repo(floors, "ann/golden")
        base = weights(1, 12_000)
        oid = put_large(floors, repo, "model.safetensors", safetensors({"a": base}))
        tuned = safetensors({"a": moved(base, 2)})
        put_large(floors, repo, "tuned.safetensors", tuned, oid)
        put_large(floors, repo, "w.bin", b"golden" * 1000, pack=False)
        out(floors, [repo], folder / "bundle.tar", private)
        floors.close()


if __name__ == "__main__":
    main()
