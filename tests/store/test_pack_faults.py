"""Packing, killed and failing at every call that changes the disk; on a disk that fills up; and by
a codec that lies. Nothing is lost, nothing is there in part, and the job can be run again."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pack_kit import model, safetensors, tuned
from pack_ops import JOBS
from store_kit import again, digest, files_of, findings, get, put

from effort import FULL
from headwater.codec import frames
from headwater.errors import Corrupt, Unavailable
from headwater.store import Store
from headwater.store.locks import lock_of

HERE = Path(__file__).resolve().parent
MOST = 10_000 if FULL else 3  # points of each kind of call


def run(*command: str) -> subprocess.CompletedProcess[str]:
    paths = [str(HERE), *(path for path in sys.path if path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)


@pytest.mark.crash
@pytest.mark.local_disk
@pytest.mark.timeout(300)
@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("mode", ["kill", "fail"])
def test_at_every_call(mode: str, job: str) -> None:
    done = run(sys.executable, str(HERE / "pack_ops.py"), mode, job, str(MOST))
    assert done.returncode == 0, done.stderr
    number, problems = json.loads(done.stdout)
    assert problems == []
    assert number >= 1


BASE, CHILD = safetensors(model(1)), safetensors(tuned(model(1), 2))


@pytest.mark.parametrize("packed", [False, True])
def test_a_codec_that_lies(store: Store, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    """What it made does not decode to what it was given: refused, and the old bytes stay."""
    oid, base = put(store, CHILD).oid, put(store, BASE).oid
    store.pack(base)
    if packed:
        store.pack(oid)
    honest = frames.encode

    def lie(raw, element, base=None, **options):  # type: ignore[no-untyped-def]
        other = bytearray(raw)
        other[len(other) // 2] ^= 1
        return honest(memoryview(bytes(other)), element, base, **options)

    monkeypatch.setattr(frames, "encode", lie)
    with pytest.raises(Corrupt):
        store.repack(oid, [base]) if packed else store.pack(oid, [base])
    monkeypatch.undo()
    blob = store.find(oid)
    assert blob is not None
    assert blob.layout == ("packed" if packed else "plain")
    for data in (BASE, CHILD):
        assert get(again(store), digest(data)) == data
    if not packed:
        store.sweep_tensors(time.time() + 10)
    assert findings(store) == []
    assert (store.repack(oid, [base]) if packed else store.pack(oid, [base])) is not None
    assert get(again(store), oid) == CHILD


def test_no_sweep_beside_a_pack(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is being packed leans on tensors that nothing names yet: a sweep waits its turn."""
    monkeypatch.setattr("headwater.store.packs.SWEEP_WAIT_S", 0.1)
    oid = put(store, BASE).oid
    refused = []

    def sweep(done_bytes: int) -> None:
        try:
            store.sweep_tensors(time.time() + 10)
        except Unavailable:
            refused.append(done_bytes)

    assert store.pack(oid, progress=sweep) is not None
    assert len(refused) > 3
    assert get(again(store), oid) == BASE
    with lock_of(str(store.root), "PACK", shared=False, wait_s=1):  # and the other way round
        monkeypatch.setattr("headwater.store.packing.LOCK_WAIT_S", 0.1)
        with pytest.raises(Unavailable):
            store.pack(put(store, CHILD).oid)
    assert findings(store) == []


def test_a_damaged_tensor_that_nothing_names_is_garbage(store: Store) -> None:
    oid = put(store, BASE).oid
    store.pack(oid)
    path = files_of(store, "tensors/**/*")[0]
    path.write_bytes(path.read_bytes()[:-1])
    assert put(store, BASE).layout == "plain"
    store.sweep_tensors(time.time() + 10)
    assert files_of(store, "tensors/**/*") == []
    assert findings(store) == []


FILLS_UP = """
import json, sys
from contextlib import suppress
from pathlib import Path
from pack_kit import model, safetensors
from store_kit import put, get
from headwater.errors import NoSpace
from headwater.store import Store

store = Store.open(Path(sys.argv[1]))
kept, raised = {}, 0
for seed in range(8):
    data = safetensors(model(seed, 256, 1, 64))
    kept[put(store, data).oid] = data
packed = 0
filler = Path(sys.argv[1]) / "filler"
for oid in kept:
    with suppress(OSError):  # full it shall be
        filler.write_bytes(bytes(90_000 * packed))
    try:
        packed += store.pack(oid) is not None
    except NoSpace:
        raised += 1
    assert all(get(store, other) == data for other, data in kept.items())
left = len(list((store.root / "tmp").iterdir()))
filler.unlink()
for oid in kept:
    store.pack(oid)
right = all(get(Store.open(store.root), oid) == data for oid, data in kept.items())
problems = [finding.problem for finding in store.check(True)]
layouts = {store.find(oid).layout for oid in kept}
print(json.dumps([raised, left, right, problems, sorted(layouts)]))
"""


@pytest.mark.local_disk
def test_a_disk_that_fills_up(tmp_path: Path) -> None:
    """NoSpace, every blob reads right, and all are packed once there is room."""
    mounted = f'mount -t tmpfs -o size=5m none {tmp_path} && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, "sh"]
    if not shutil.which("unshare") or run(*command, "true").returncode:
        pytest.skip("needs a user namespace that may mount")
    done = run(*command, sys.executable, "-c", FILLS_UP, str(tmp_path / "store"))
    assert done.returncode == 0, done.stderr
    raised, left, right, problems, layouts = json.loads(done.stdout)
    assert raised > 0
    assert left == 0
    assert right
    assert problems == []
    assert layouts == ["packed"]
