"""A packed file that came by Xet and was damaged is healed by an upload of either kind."""

import time
from pathlib import Path

import pytest
from pack_kit import model, safetensors
from store_kit import (
    MadeFile,
    MadeXorb,
    again,
    files_of,
    findings,
    flip,
    get,
    put,
    put_file,
    put_xorb,
)

from headwater.store import Store

DATA = safetensors(model(1))
XORB = MadeXorb.of([DATA[at : at + 5000] for at in range(0, len(DATA), 5000)])
FILE = MadeFile(((XORB, 0, len(XORB.chunks)),))


@pytest.mark.parametrize("faded", [False, True])
@pytest.mark.parametrize("by_xet", [False, True])
@pytest.mark.parametrize("suffix", [".packed", ".tensor"])
def test_healed(
    store: Store, monkeypatch: pytest.MonkeyPatch, suffix: str, by_xet: bool, faded: bool
) -> None:
    oid = put_file(store, FILE).oid
    store.pack(oid)
    if faded:
        monkeypatch.setattr("headwater.store.packs.FADE_S", -1.0)
        store.sweep_tmp(1e9)
    path: Path = files_of(store, f"**/*{suffix}")[0]
    flip(path, path.stat().st_size // 2)
    if by_xet:
        put_file(store, FILE)
    else:
        put(store, DATA)
    assert get(again(store), oid) == DATA
    put_xorb(store, XORB)
    store.sweep_tensors(time.time() + 10)
    assert [found for found in findings(store) if found.kind != "stray"] == []


def test_a_stored_form_outlives_a_damaged_virtual_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the last that is right; and the sweep of tmp goes on."""
    put_file(store, FILE)
    store.pack(FILE.oid)
    monkeypatch.setattr("headwater.store.packs.FADE_S", -1.0)
    for suffix in (".tensor", ".virtual"):
        (path, *_) = files_of(store, f"**/*{suffix}")
        flip(path, path.stat().st_size // 2)
        store.sweep_tmp(1e9)
        assert len(files_of(store, "**/*.xorb")) == 1


@pytest.mark.parametrize("place", [0, -1])
def test_a_damaged_stored_form_beside_a_sound_virtual_one(store: Store, place: int) -> None:
    """No read needs it, but `check` tells of it: an upload heals that, too."""
    put_file(store, FILE)
    store.pack(FILE.oid)
    (path,) = files_of(store, "**/*.xorb")
    flip(path, place % path.stat().st_size)
    assert [found.name for found in findings(again(store))] == [XORB.hash]
    put_xorb(store, XORB)
    assert files_of(store, "**/*.xorb") == []
    assert findings(again(store)) == []
    assert get(again(store), FILE.oid) == DATA
