"""Tokens: what was signed comes back, and nothing else opens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import Forbidden, Refused
from headwater.hub.signing import Signer
from headwater.names import Digest

SECRET = b"s" * 32
json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
payloads = st.dictionaries(st.text(), json_like, max_size=5)


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@given(payload=payloads, purpose=st.text())
def test_what_is_signed_comes_back(payload: dict[str, object], purpose: str) -> None:
    token = Signer(SECRET).sign(purpose, payload, 60)
    assert Signer(SECRET).open(purpose, token) == payload, "another worker opens it"
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in token), "fit for an address"


@given(data=st.data())
def test_a_changed_token_never_opens(data: st.DataObject) -> None:
    signer = Signer(SECRET)
    token = signer.sign("lfs-put", {"oid": "a" * 64, "size": 5}, 60)
    at = data.draw(st.integers(0, len(token) - 2))  # the last character may hold unused bits
    other = data.draw(st.sampled_from("ABCxyz019-_").filter(lambda c: c != token[at]))
    for bad in (token[:at] + other + token[at + 1 :], token[:at], token + other, other + token):
        with pytest.raises(Forbidden):
            signer.open("lfs-put", bad)


@given(token=st.text(max_size=300) | st.binary(max_size=200).map(bytes.hex))
def test_garbage_never_opens(token: str) -> None:
    with pytest.raises(Forbidden):
        Signer(SECRET).open("lfs-put", token)


def test_purpose_and_secret_bind() -> None:
    token = Signer(SECRET).sign("lfs-put", {"oid": Digest("a" * 64)}, 60)
    with pytest.raises(Forbidden):
        Signer(SECRET).open("xorb-get", token)
    with pytest.raises(Forbidden):
        Signer(b"t" * 32).open("lfs-put", token)
    assert Signer(SECRET).open("lfs-put", token) == {"oid": "a" * 64}


def test_it_ends_on_the_second() -> None:
    clock = Clock()
    signer = Signer(SECRET, clock)
    token = signer.sign("x", {}, 300)
    clock.seconds += 299.9
    assert signer.open("x", token) == {}
    clock.seconds += 0.1
    with pytest.raises(Forbidden, match="expired"):
        signer.open("x", token)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(Refused):
        Signer(b"short")


def test_a_fingerprint_is_stable_and_bound() -> None:
    signer = Signer(SECRET)
    made = signer.fingerprint("lfs-upload", {"a": 1, "b": Digest("a" * 64)})
    assert made == signer.fingerprint("lfs-upload", {"b": "a" * 64, "a": 1}), "order is no part"
    assert made != signer.fingerprint("other", {"a": 1, "b": "a" * 64})
    assert made != Signer(b"t" * 32).fingerprint("lfs-upload", {"a": 1, "b": "a" * 64})
    assert len(made) == 32


def test_an_oversized_token_is_refused_before_work() -> None:
    with pytest.raises(Forbidden):
        Signer(SECRET).open("x", "A" * 10_000_000)
