"""Sign-in through a browser: once, in time, by its owner; guessing and stealing gain nothing."""

import pytest
from catalog_kit import person
from sqlalchemy import func, select, update

from headwater.catalog import audit, devices, sessions
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import TokenRole
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import iso, now_ms
from headwater.catalog.devices import Begun
from headwater.errors import Forbidden, NotFound, OAuthError, TooMany, Unauthorized

CLIENT = "26be6b09-91c5-47da-9861-d2d2bb7a7e36"
HOUR_MS = 3_600_000


def token(
    catalog: Catalog,
    user: str,
    name: str = "laptop",
    role: TokenRole = "write",
    expires_ms: int | None = None,
) -> str:
    person(catalog, user)
    return catalog.tokens.create(user, name, role, expires_ms=expires_ms)


def begin(catalog: Catalog, caller: str = "c" * 32) -> Begun:
    return catalog.devices.begin(CLIENT, caller)


def word(catalog: Catalog, device_code: str, client: str = CLIENT) -> str:
    with pytest.raises(OAuthError) as told:
        catalog.devices.poll(device_code, client)
    return told.value.word


def later(catalog: Catalog, ms: int) -> None:
    """As if so much time had passed for every code that waits."""
    with catalog.db.write() as conn:
        for name in ("expires_ms", "polled_ms", "created_ms"):
            column = so.device_code.c[name]
            conn.execute(update(so.device_code).values({name: column - ms}))


def signed_in(catalog: Catalog, user: str = "ann") -> sessions.Granted:
    begun = begin(catalog)
    catalog.devices.decide(token(catalog, user, f"t{now_ms()}"), begun.user_code, approve=True)
    return catalog.devices.poll(begun.device_code, CLIENT)


def test_from_begin_to_token(catalog: Catalog) -> None:
    ann, begun = token(catalog, "ann"), begin(catalog)
    assert word(catalog, begun.device_code) == "authorization_pending"
    typed = f"  {begun.user_code.lower().replace('-', ' ')} "  # as people type
    assert catalog.devices.decide(ann, typed, approve=True) == CLIENT
    granted = catalog.devices.poll(begun.device_code, CLIENT)
    actor = catalog.tokens.actor(granted.access_token)
    assert (actor.name, actor.token_role) == ("ann", "write")
    assert actor.token_name == f"oauth-hf-{iso(now_ms())[:10]}"
    assert word(catalog, begun.device_code) == "invalid_grant"  # single use
    with pytest.raises(NotFound):
        catalog.devices.decide(ann, begun.user_code, approve=True)
    assert catalog.tokens.list("ann")[-1].expires_ms


def test_denied(catalog: Catalog) -> None:
    ann, begun = token(catalog, "ann"), begin(catalog)
    catalog.devices.decide(ann, begun.user_code, approve=False)
    assert word(catalog, begun.device_code) == "access_denied"
    with pytest.raises(NotFound):
        catalog.devices.decide(ann, begun.user_code, approve=True)


def test_polling_too_fast(catalog: Catalog) -> None:
    begun = begin(catalog)
    told = [word(catalog, begun.device_code) for _ in range(2)]
    assert told == ["authorization_pending", "slow_down"]
    later(catalog, 5_000)
    assert word(catalog, begun.device_code) == "authorization_pending"


def test_a_code_does_not_live_long(catalog: Catalog) -> None:
    ann, begun, granted = token(catalog, "ann"), begin(catalog), begin(catalog)
    catalog.devices.decide(ann, granted.user_code, approve=True)
    later(catalog, devices.CODE_TTL_S * 1000)
    assert word(catalog, begun.device_code) == "expired_token"
    assert word(catalog, granted.device_code) == "expired_token"  # approved, and not fetched
    with pytest.raises(NotFound, match="expired"):
        catalog.devices.decide(ann, begun.user_code, approve=True)
    later(catalog, devices.KEPT_MS + 1)
    begin(catalog)
    assert word(catalog, begun.device_code) == "invalid_grant"  # swept


def test_another_client_or_a_guess_gets_nothing(catalog: Catalog) -> None:
    begun = begin(catalog)
    catalog.devices.decide(token(catalog, "ann"), begun.user_code, approve=True)
    assert word(catalog, begun.device_code, "another") == "invalid_grant"
    for guess in ("", "x", begun.user_code, begun.device_code[:-1]):
        assert word(catalog, guess) == "invalid_grant"
    assert catalog.devices.poll(begun.device_code, CLIENT)


def test_nothing_of_the_codes_is_kept_readable(catalog: Catalog) -> None:
    begun = begin(catalog)
    with catalog.db.read() as conn:
        kept = str(conn.execute(select(so.device_code)).one())
    for secret in (begun.device_code, begun.user_code, begun.user_code.replace("-", "")):
        assert secret not in kept


def test_guessing_codes_is_held_up_per_person(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who guesses waits, also with the right code, also with another token; others do not."""
    monkeypatch.setattr(devices, "MISSES_MAX", 3)
    eve, ann, begun = token(catalog, "eve"), token(catalog, "ann"), begin(catalog)
    for guess in ("BBBB-BBBB", "", "BBBB"):
        with pytest.raises(NotFound):
            catalog.devices.decide(eve, guess, approve=True)
    for which in (eve, token(catalog, "eve", "second")):
        with pytest.raises(TooMany):
            catalog.devices.decide(which, begun.user_code, approve=True)
    with catalog.db.write() as conn:
        conn.execute(
            update(so.device_guess).values(
                since_ms=so.device_guess.c.since_ms - devices.MISSES_WINDOW_MS
            )
        )
    with pytest.raises(NotFound):  # time has passed: eve may try again
        catalog.devices.decide(eve, "BBBB-BBBB", approve=True)
    catalog.devices.decide(ann, begun.user_code, approve=True)


def test_who_may_approve(catalog: Catalog) -> None:
    """A token never makes another that can do more, or lasts longer, than itself."""
    begun = begin(catalog)
    for_an_hour = token(catalog, "ann", "short", expires_ms=now_ms() + HOUR_MS)
    for weak in (token(catalog, "ann", "reader", "read"), for_an_hour):
        for approve in (True, False):
            with pytest.raises(Forbidden, match="cannot approve"):
                catalog.devices.decide(weak, begun.user_code, approve=approve)
    with pytest.raises(Forbidden):  # what a sign-in made does not make another
        catalog.devices.decide(signed_in(catalog).access_token, begun.user_code, approve=True)
    revoked = token(catalog, "ann", "gone")
    catalog.tokens.revoke("ann", "gone")
    for bad in (revoked, "", "hf_x", "x" * 10_000):
        with pytest.raises(Unauthorized):
            catalog.devices.decide(bad, begun.user_code, approve=True)
    assert word(catalog, begun.device_code) == "authorization_pending"


def test_an_approval_holds_as_long_as_its_token(catalog: Catalog) -> None:
    ann, begun = token(catalog, "ann", "leaked"), begin(catalog)
    catalog.devices.decide(ann, begun.user_code, approve=True)
    catalog.tokens.revoke("ann", "leaked")
    assert word(catalog, begun.device_code) == "access_denied"
    bob, other = token(catalog, "bob"), begin(catalog)
    catalog.devices.decide(bob, other.user_code, approve=True)
    catalog.accounts.delete("bob")
    assert word(catalog, other.device_code) == "invalid_grant"


def test_a_flood_of_sign_ins_is_stopped_where_it_comes_from(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "WAITING_OF_CALLER_MAX", 2)
    monkeypatch.setattr(devices, "WAITING_MAX", 4)
    for _ in range(2):
        begin(catalog, "a" * 32)
    with pytest.raises(TooMany):
        begin(catalog, "a" * 32)
    for _ in range(2):
        begin(catalog, "b" * 32)
    with pytest.raises(TooMany):
        begin(catalog, "d" * 32)
    later(catalog, devices.CODE_TTL_S * 1000)
    begin(catalog, "a" * 32)


@pytest.mark.parametrize("client", ["", "a b", "x" * 101, "<script>", "a\n"])
def test_a_client_has_a_name(catalog: Catalog, client: str) -> None:
    with pytest.raises(OAuthError) as told:
        catalog.devices.begin(client, "c" * 32)
    assert told.value.word == "invalid_request"


def test_renewing(catalog: Catalog) -> None:
    first = signed_in(catalog)
    second = catalog.sessions.renew(first.refresh_token, CLIENT)
    names = [catalog.tokens.actor(g.access_token).token_name for g in (first, second)]
    assert names[1] == names[0] + "-2"
    old = next(t for t in catalog.tokens.list("ann") if t.name == names[0])
    assert old.expires_ms
    assert old.expires_ms <= now_ms() + sessions.OVERLAP_MS  # for what is on its way
    third = catalog.sessions.renew(second.refresh_token, CLIENT)
    assert catalog.tokens.actor(third.access_token).name == "ann"


def refused(catalog: Catalog, refresh: str, client: str = CLIENT) -> None:
    with pytest.raises(OAuthError) as told:
        catalog.sessions.renew(refresh, client)
    assert told.value.word == "invalid_grant"


def alive(catalog: Catalog, granted: sessions.Granted) -> bool:
    try:
        catalog.tokens.actor(granted.access_token)
    except Unauthorized:
        return False
    return True


def test_a_stolen_refresh_token_ends_the_session(catalog: Catalog) -> None:
    """Whichever of thief and owner comes second: all tokens of the session end, others' do not."""
    other, first = signed_in(catalog, "bob"), signed_in(catalog)
    stolen = catalog.sessions.renew(first.refresh_token, CLIENT)
    refused(catalog, first.refresh_token)
    assert not alive(catalog, first)
    assert not alive(catalog, stolen)
    refused(catalog, stolen.refresh_token)
    assert alive(catalog, other)


def test_revoking_one_token_of_a_session_ends_it(catalog: Catalog) -> None:
    first = signed_in(catalog)
    name = catalog.tokens.actor(first.access_token).token_name
    second = catalog.sessions.renew(first.refresh_token, CLIENT)
    laptop = token(catalog, "ann", "other")
    catalog.tokens.revoke("ann", name)  # the older of the two
    assert not alive(catalog, first)
    assert not alive(catalog, second)
    refused(catalog, second.refresh_token)
    assert catalog.tokens.actor(laptop).name == "ann"


def test_what_does_not_renew(catalog: Catalog) -> None:
    first = signed_in(catalog)
    for guess in ("", "x", first.access_token):
        refused(catalog, guess)
    refused(catalog, first.refresh_token, "another")
    with catalog.db.write() as conn:
        conn.execute(update(so.oauth_refresh).values(expires_ms=now_ms()))
    refused(catalog, first.refresh_token)
    assert alive(catalog, first)  # it was late, not stolen
    gone = signed_in(catalog, "bob")
    catalog.accounts.delete("bob")
    refused(catalog, gone.refresh_token)


def test_ended_tokens_of_a_session_do_not_pile_up(catalog: Catalog) -> None:
    granted = signed_in(catalog)
    for _ in range(3):
        with catalog.db.write() as conn:
            past = now_ms() - 2 * sessions.OVERLAP_MS
            conn.execute(
                update(s.token).where(s.token.c.session_id.is_not(None)).values(expires_ms=past)
            )
        granted = catalog.sessions.renew(granted.refresh_token, CLIENT)
    with catalog.db.read() as conn:
        mine = select(func.count()).where(s.token.c.session_id.is_not(None))
        assert conn.execute(mine).scalar_one() == 1


def test_each_step_that_gives_something_is_in_the_audit_trail(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def actions() -> list[str]:
        with catalog.db.read() as conn:
            return list(conn.execute(select(s.audit.c.action).order_by(s.audit.c.id)).scalars())

    ann, begun = token(catalog, "ann"), begin(catalog)
    before = len(actions())
    catalog.devices.decide(ann, begun.user_code, approve=True)
    granted = catalog.devices.poll(begun.device_code, CLIENT)
    catalog.sessions.renew(granted.refresh_token, CLIENT)
    refused(catalog, granted.refresh_token)
    expected = ["signin.approve", "token.create", "token.create", "signin.reuse"]
    assert actions()[before:] == expected

    class Cut(Exception):
        pass

    def cut(*_args: object, **_kw: object) -> None:
        raise Cut

    other = begin(catalog)
    catalog.devices.decide(ann, other.user_code, approve=True)
    monkeypatch.setattr(audit, "record", cut)
    with pytest.raises(Cut):
        catalog.devices.poll(other.device_code, CLIENT)
    monkeypatch.undo()
    assert catalog.devices.poll(other.device_code, CLIENT)  # nothing had been given
