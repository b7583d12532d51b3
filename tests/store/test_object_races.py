"""Removals in a bucket, where there is no lock: against touches, uploads and each other, request by
request, in every order; and removers that die. Against a real radosgw."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bucket_kit import KEY, interleaved, orders, publish, shelf_of, watch
from relay import relay
from rgw import Ceph
from store_kit import InBucket

from headwater.errors import Unavailable
from headwater.store import Store, object_shelf
from headwater.store.object_shelf import ObjectShelf

pytestmark = pytest.mark.s3


@pytest.fixture
def store(tmp_path: Path, url: str) -> Store:
    return Store.open(tmp_path / "store", url)


RACES = 900


@pytest.fixture(scope="module")
def aged(server: Ceph, made_bucket: str) -> tuple[str, list[str]]:
    """A place, and names of some seconds ago in it, each in two layouts: one for every race."""
    client = server.client(made_bucket, "races")
    names = [f"blobs/ab/cd/{number}" for number in range(RACES)]

    def make(name: str) -> None:
        for key in (f"{name}.plain", f"{name}.chunked"):
            client.put(key, b"some bytes")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, names))
    time.sleep(2.1)
    return f"s3://{made_bucket}/races", names


Aged = tuple[str, list[str]]
Orders = list[list[int]]


class NoAnnouncement(ObjectShelf):
    """A seeded bug: removals look and remove, as if no one else were there."""

    def _remove(self, key: str, allowed: object) -> bool:
        if not allowed():  # type: ignore[operator]
            return False
        self._unlink(key)
        return True


class NoWait(ObjectShelf):
    """A seeded bug: who touches or publishes does not look for removals under way."""

    def _await_removals(self, key: str) -> None:
        return


RACES_MAX = 5  # on a slow machine the one that keeps may always be first


def race_touch(kind: type[ObjectShelf], aged: Aged, cases: Orders) -> Orders:
    """Every order in which a touch was acknowledged and the object is gone."""
    url, names = aged
    shelves = [kind(url), kind(url)]
    before_s, lost = time.time(), []
    for order in cases:
        key = f"{names.pop()}.plain"
        calls = (
            lambda shelf, key=key: shelf.touch(key),
            lambda shelf, key=key: shelf.delete([key], before_s),
        )
        touched, removed = interleaved(order, shelves, calls)
        assert {type(touched), type(removed)} == {bool}, (touched, removed)
        there = shelves[0].stat(key) is not None
        assert there != removed
        if touched and not there:
            lost.append(order)
    return lost


def race_publish(kind: type[ObjectShelf], aged: Aged, cases: Orders, folder: Path) -> Orders:
    """Every order in which an upload was acknowledged and the object is gone."""
    url, names = aged
    shelves = [kind(url), kind(url)]
    before_s, lost = time.time(), []
    for order in cases:
        key = f"{names.pop()}.plain"
        calls = (
            lambda shelf, key=key: publish(shelf, folder, key),
            lambda shelf, key=key: shelf.delete([key], before_s),
        )
        published, removed = interleaved(order, shelves, calls)
        assert published is None, published
        assert isinstance(removed, bool | Unavailable), removed
        if shelves[0].stat(key) is None:
            lost.append(order)
    return lost


def race_drops(kind: type[ObjectShelf], aged: Aged, cases: Orders) -> Orders:
    """Every order in which two who each keep one of two left nothing."""
    url, names = aged
    shelves = [kind(url), kind(url)]
    lost = []
    for order in cases:
        name = names.pop()
        plain, chunked = f"{name}.plain", f"{name}.chunked"
        calls = (
            lambda shelf, plain=plain, chunked=chunked: shelf.drop(chunked, plain),
            lambda shelf, plain=plain, chunked=chunked: shelf.drop(plain, chunked),
        )
        assert interleaved(order, shelves, calls) == [None, None]
        if shelves[0].stat(plain) is None and shelves[0].stat(chunked) is None:
            lost.append(order)
    return lost


def test_a_touch_and_a_removal_in_every_order(aged: Aged) -> None:
    assert race_touch(ObjectShelf, aged, list(orders(4, 7))) == []


def test_an_upload_and_a_removal_in_every_order(aged: Aged, tmp_path: Path) -> None:
    assert race_publish(ObjectShelf, aged, list(orders(3, 7)), tmp_path) == []


def test_two_drops_in_many_orders(aged: Aged) -> None:
    every = list(orders(7, 7))
    assert race_drops(ObjectShelf, aged, random.Random(1).sample(every, 200)) == []


def test_the_races_find_the_bugs_they_are_for(aged: Aged, tmp_path: Path) -> None:
    """Without one half of the protocol each of the three loses something."""
    some = random.Random(2)
    touches = some.sample(list(orders(4, 7)), 60)
    uploads = some.sample(list(orders(3, 7)), 60)
    drops = some.sample(list(orders(4, 4)), 40)
    assert race_touch(NoWait, aged, touches)
    assert race_publish(NoWait, aged, uploads, tmp_path)
    assert race_touch(NoAnnouncement, aged, touches)
    assert race_drops(NoAnnouncement, aged, drops)


def test_two_processes_race(server: Ceph, url: str, tmp_path: Path) -> None:
    """As they come, not step by step: what a touch or an upload acknowledged stays."""
    import object_race

    removals = 0
    for number in range(RACES_MAX):
        lost, removed, kept = object_race.run(f"{url}/{number}", tmp_path, keys=80)
        assert lost == []
        assert kept >= 40  # of those that were uploaded again, each
        removals += removed
        if removals:
            return
    raise AssertionError("the two never met")


def test_a_removal_that_died(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its announcement holds others up, for a while and no longer; then it is cleared away."""
    shelf = shelf_of(store)
    publish(shelf, tmp_path, KEY)
    monkeypatch.setattr(object_shelf, "WAIT_S", 0.3)
    announcement = InBucket(shelf.where, f"deleting/{KEY}/0123")
    announcement.write_bytes(b"")
    for call in (lambda: shelf.touch(KEY), lambda: publish(shelf, tmp_path, KEY)):
        with pytest.raises(Unavailable, match="being removed"):
            call()
    monkeypatch.setattr(object_shelf, "ANNOUNCED_S", 1.0)
    time.sleep(2.1)
    assert shelf.touch(KEY)
    assert not announcement.exists()
    assert shelf.empty(["deleting", "clock"])


def test_a_removal_of_which_no_one_knows(store: Store, tmp_path: Path) -> None:
    """The request to delete failed, perhaps after it was done: its announcement stays."""
    shelf = shelf_of(store)
    publish(shelf, tmp_path, KEY)

    def fail(verb: str, args: tuple[str, ...], _: object) -> None:
        if verb == "delete" and args[0] == KEY:
            raise Unavailable("the connection broke")

    watch(shelf, fail)
    with pytest.raises(Unavailable):
        shelf.delete([KEY], None)
    assert not shelf.empty(["deleting"])


def test_a_removal_that_took_too_long_gives_up(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelf_of(store)
    publish(shelf, tmp_path, KEY)
    monkeypatch.setattr(object_shelf, "REMOVE_WITHIN_S", 0.0)
    assert not shelf.delete([KEY], None)
    assert shelf.stat(KEY) is not None
    assert shelf.empty(["deleting"])


def test_a_removal_is_not_sent_twice(
    server: Ceph, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks under it: the bucket may carry it out yet, so others are held up, and
    no second request follows that would seem to settle it."""
    publish(ObjectShelf(url), tmp_path, KEY)
    with server.gateway() as gateway, relay(gateway) as between:
        monkeypatch.setenv("AWS_ENDPOINT", between.url)
        shelf = ObjectShelf(url)
        asked: list[str] = []

        def cut(verb: str, args: tuple[str, ...], _: object) -> None:
            if verb == "delete":
                asked.append(args[0])
                between.limit(down=1)

        watch(shelf, cut)
        with pytest.raises(Unavailable):
            shelf.delete([KEY], None)
        assert asked == [KEY]
    monkeypatch.setenv("AWS_ENDPOINT", server.url)
    assert not ObjectShelf(url).empty(["deleting"])
