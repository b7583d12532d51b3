"""Many at once: one request a person, one sign-in a code, one renewal a refresh token."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from catalog_kit import person, repo

from headwater.catalog.catalog import Catalog
from headwater.catalog.sessions import Granted
from headwater.errors import Conflict, HeadwaterError, OAuthError
from headwater.names import RepoId

CLIENT = "some-client"
AT_ONCE = 6


def at_once(call: Callable[[int], object]) -> list[object]:
    """What each of several callers at one moment got; of errors of the hub, the error."""
    barrier = Barrier(AT_ONCE)

    def one(number: int) -> object:
        barrier.wait()
        try:
            return call(number)
        except HeadwaterError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(one, range(AT_ONCE)))


def test_asking_at_once_is_one_request(catalog: Catalog) -> None:
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    repo(catalog, alice, "alice/m")
    catalog.repos.set(alice, "model", "alice/m", gated="manual")
    got = at_once(lambda _: catalog.access.ask(bob, "model", "alice/m", {}))
    _, rows = catalog.access.page(alice, "model", "alice/m", None, limit=9)
    assert got == [rows[0]] * AT_ONCE
    assert len(rows) == 1


def test_a_granted_code_is_fetched_once(catalog: Catalog) -> None:
    person(catalog, "ann")
    begun = catalog.devices.begin(CLIENT, "c")
    token = catalog.tokens.create("ann", "laptop", "write")
    catalog.devices.decide(token, begun.user_code, approve=True)
    got = at_once(lambda _: catalog.devices.poll(begun.device_code, CLIENT))
    assert sum(isinstance(each, Granted) for each in got) == 1
    assert [each.word for each in got if isinstance(each, OAuthError)] == ["invalid_grant"] * 5


def test_renewing_at_once_ends_the_session(catalog: Catalog) -> None:
    """One of them is a thief, and nobody can tell which: none of the tokens opens anything."""
    person(catalog, "ann")
    begun = catalog.devices.begin(CLIENT, "c")
    token = catalog.tokens.create("ann", "laptop", "write")
    catalog.devices.decide(token, begun.user_code, approve=True)
    first = catalog.devices.poll(begun.device_code, CLIENT)
    got = at_once(lambda _: catalog.sessions.renew(first.refresh_token, CLIENT))
    granted = [each for each in got if isinstance(each, Granted)]
    assert len(granted) == 1
    for each in (first, *granted):
        with_it = at_once(lambda _, text=each.access_token: catalog.tokens.actor(text))
        assert all(isinstance(answer, HeadwaterError) for answer in with_it)


def test_a_free_name_is_taken_once(catalog: Catalog) -> None:
    """A tombstone, a redirect, and several who want the name in one moment."""
    alice = person(catalog, "alice")
    repo(catalog, alice, "alice/buried")
    catalog.repos.delete(alice, "model", "alice/buried")
    repo(catalog, alice, "alice/moved")
    catalog.repos.move(alice, "model", "alice/moved", RepoId("model", "alice", "elsewhere"))
    for name in ("buried", "moved"):
        rid = RepoId("model", "alice", name)
        got = at_once(lambda _, rid=rid: catalog.repos.create(alice, rid))
        assert sum(isinstance(each, Conflict) for each in got) == AT_ONCE - 1
        assert catalog.repos.find(alice, "model", rid.full).full == rid.full
