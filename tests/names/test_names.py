"""Names: what gets in is safe everywhere it goes; what does not hears why. Rules B24-B30."""

import unicodedata

import pytest
from dulwich.refs import check_ref_format
from hypothesis import assume, example, given
from hypothesis import strategies as st

from headwater.errors import BadRequest, InvalidName, InvalidPath
from headwater.names import (
    NAME_CHARS_MAX,
    PATH_BYTES_MAX,
    PATH_DEPTH_MAX,
    REF_BYTES_MAX,
    RESERVED_NAMES,
    SEGMENT_BYTES_MAX,
    Digest,
    GitOid,
    RepoId,
    RepoPath,
    XetHash,
    check_name,
    check_ref_part,
    shown,
)

# Apple's file system compares names without these; git's list (utf8.c, next_hfs_char).
DROPPED_BY_HFS = "".join(
    map(chr, [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
)
ZWNJ, ZWJ, BOM, SOFT_HYPHEN = "\u200c", "\u200d", "\ufeff", "\u00ad"


# Paths


@pytest.mark.parametrize(
    "path",
    [
        # B24: ways out, empty names, what file systems read otherwise
        "..", "a/../b", "../a", "a/..", ".", "./a", "a/./b", "", "/", "/a", "a/", "a//b",
        "a\\b", "..\\..\\x", "C:\\x", "a\0b", "a\nb", "a\rb", "a\tb", "\x1b[31m", "a\x7f", "a\x85b",
        "a.", "a ", "a/b./c", "a /b", "...", "a/ ", "x" * (SEGMENT_BYTES_MAX + 1),
        "é" * (SEGMENT_BYTES_MAX // 2 + 1), "/".join(["ab"] * (PATH_BYTES_MAX // 3 + 1)),
        "/".join("a" * (PATH_DEPTH_MAX + 1)),
        # B25: git's own files and ours, and what passes for them somewhere
        ".git", ".GIT", ".Git/config", "a/.git/hooks/x", "GIT~1", "git~1/x", ".gitmodules",
        ".hub", ".HUB/x", f".g{ZWNJ}it", f".gi{ZWJ}t/config", f"{BOM}.git", f".git{SOFT_HYPHEN}",
        f".git{ZWNJ}modules", ".ｇｉｔ", ".gi\u0131t".replace("\u0131t", "ｔ"),
        # B26, B27: no Unicode, direction marks, compatibility forms of what is refused
        "\ud800", "a/\udfff", "a\u202eb", "\u2066x", "x\u200f", "a\u061cb",
        "．．", "a/‥/b", "a／b", f"{ZWNJ}", f".{ZWNJ}.", f"..{ZWNJ}", "\u2024\u2024",
    ],
)  # fmt: skip
def test_paths_that_are_refused(path: str) -> None:
    with pytest.raises(InvalidPath) as met:
        RepoPath(path)
    assert met.value.status == 400
    assert met.value.message.isascii()
    assert "\n" not in met.value.message


@pytest.mark.parametrize(
    "path",
    [
        "a", "a/b/c.txt", ".gitattributes", ".gitignore", ".github/x.yml", "..a", "a..b", ".a",
        "a b", " a", "a-b_c+d=e@f,g", "git", "x.git", "hub", "gitmodules", "git~2",
        "con", "aux.txt", "a:b", "NUL", "a*?<>|\"'",  # B28: Windows' trouble, not ours
        "%2e%2e", "%252e", "a%2fb",  # B26: text, decoded once by who reads the address
        "文/模型.bin", "ñ", "Ünï", "👩\u200d🔬.txt", "ﬁ", "①", "x" * SEGMENT_BYTES_MAX,
        "/".join("a" * PATH_DEPTH_MAX),
    ],
)  # fmt: skip
def test_paths_that_are_taken(path: str) -> None:
    assert RepoPath(path) == unicodedata.normalize("NFC", path)


def test_a_path_is_one_whatever_its_accents_are_made_of() -> None:
    assert RepoPath("cafe\u0301/x") == RepoPath("caf\u00e9/x") == "caf\u00e9/x"


def test_twins_fold_to_one() -> None:
    """What case-insensitive file systems take for one name (B27)."""
    for one, two in (("A/b", "a/B"), ("straße", "STRASSE"), ("İ", "i̇"), ("ǅ", "ǆ"), ("Å", "å")):
        assert RepoPath(one).folded() == RepoPath(two).folded()
    for one, two in (("a", "b"), ("e", "é"), ("ı", "i"), ("①", "1")):
        assert RepoPath(one).folded() != RepoPath(two).folded()


@pytest.mark.parametrize("thing", [None, 5, b"a", ["a"]])
def test_only_text_is_a_path(thing: object) -> None:
    with pytest.raises(InvalidPath):
        RepoPath(thing)  # type: ignore[arg-type]


nasty = st.text(
    st.sampled_from(
        "./\\aA .gitGIT~1modules_hub\0\n\x7f\x85\u202e\u200c\u200d\ufeff．／‥ﬀé\u0301文"
    ),
    max_size=20,
)


@given(nasty | st.text(max_size=30))
@example("a" * 255 + "/" + "b" * 255)
@example("\u0958" * 85)  # NFC makes it longer
@example("\U0002f800" * 60)  # and this shorter
@example("a\u0338/\u226f")
def test_every_path_that_gets_in_is_safe(text: str) -> None:
    try:
        path = RepoPath(text)
    except InvalidPath:
        return
    assert RepoPath(path) == path, "what was taken once is taken as it is"
    assert unicodedata.is_normalized("NFC", path)
    assert 0 < len(path.encode()) <= PATH_BYTES_MAX
    assert "/".join(path.segments) == path
    assert path.name == path.segments[-1]
    assert len(path.segments) <= PATH_DEPTH_MAX
    for segment in path.segments:
        assert 0 < len(segment.encode()) <= SEGMENT_BYTES_MAX
        assert segment not in (".", "..")
        assert not set(segment) & set("\\\0\r\n\t\u202e\u2066")
        assert segment[-1] not in ". "
        seen = "".join(char for char in segment if char not in DROPPED_BY_HFS)
        for form in ("NFC", "NFKC"):
            folded = unicodedata.normalize(form, seen).casefold()
            assert folded not in (".git", ".gitmodules", ".hub", "git~1", ".", "..")
            assert "/" not in folded


# Repo and account names


@pytest.mark.parametrize(
    "name",
    [
        "", "-a", ".a", "_a", "a-", "a.", "a--b", "a..b", "a/b", "a b", "a\n", "\na", "ä", "а",
        "a" * 97, "a.git", "a.GIT", "a.ipynb", "a\0", "a\\b", "%61", "~a", "@a", "a:b",
    ],
)  # fmt: skip
def test_names_that_are_refused(name: str) -> None:
    for what in ("repo name", "namespace", "account name"):
        with pytest.raises(InvalidName) as met:
            check_name(name, what)
        assert what in met.value.message
        assert met.value.message.isascii()


@pytest.mark.parametrize(
    "name", ["a", "A1", "a-b_c.d", "7b", "a" * NAME_CHARS_MAX, "git", "a_", "x.json"]
)
def test_names_that_are_taken(name: str) -> None:
    for what in ("repo name", "namespace", "account name"):
        assert check_name(name, what) == name


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_routes_are_no_namespaces(name: str) -> None:
    for spelled in (name, name.upper()):
        with pytest.raises(InvalidName):
            check_name(spelled, "namespace")
        with pytest.raises(InvalidName):
            check_name(spelled, "account name")
        assert check_name(spelled, "repo name") == spelled


@pytest.mark.parametrize("thing", [None, 5, b"abc"])
def test_only_text_is_a_name(thing: object) -> None:
    for check in (check_name, check_ref_part):
        with pytest.raises(InvalidName):
            check(thing, "namespace")  # type: ignore[arg-type]


def test_repo_ids() -> None:
    rid = RepoId.parse("dataset", "Lab/My-Data")
    assert (rid.full, rid.key, rid.prefix, str(rid)) == (
        "Lab/My-Data", "lab/my-data", "datasets/", "datasets/Lab/My-Data",
    )  # fmt: skip
    assert str(RepoId.parse("model", "a/b")) == "a/b"
    assert str(RepoId.parse("space", "a/b")) == "spaces/a/b"
    for text in (
        "noslash",
        "",
        "/",
        "a/",
        "/b",
        "a/b/c",
        "api/x",
        "a/..",
        "../b",
        "a/.git",
        "a//b",
    ):
        with pytest.raises(InvalidName):
            RepoId.parse("model", text)


@given(st.text(max_size=100), st.text(max_size=100))
def test_every_name_that_gets_in_is_a_plain_word(namespace: str, name: str) -> None:
    try:
        rid = RepoId.parse("model", f"{namespace}/{name}")
    except InvalidName:
        return
    assert rid.full.isascii()
    assert rid.full.isprintable()
    assert rid.full.count("/") == 1
    assert rid.key == rid.full.lower()
    assert RepoId.parse("model", rid.full) == rid


# Branches and tags


@pytest.mark.parametrize(
    "ref",
    [
        "", "refs/heads/x", "refs/pr/1", "HEAD", "@", "-x", "a..b", "a.lock", "a.lock/b", "a//b",
        "/a", "a/", ".a", "a/.b", "a.", "a b", "a~1", "a^", "a:b", "a?", "a*", "a[", "a\\b", "a@{1}",  # noqa: E501
        "a\0", "a\n", "a\x7f", "0" * 40, "a\u202eb", "x" * (REF_BYTES_MAX + 1), "é" * 200,
    ],
)  # fmt: skip
def test_refs_that_are_refused(ref: str) -> None:
    for what in ("branch", "tag"):
        with pytest.raises(InvalidName, match=f"Invalid reference for a {what}"):
            check_ref_part(ref, what)


@pytest.mark.parametrize(
    "ref",
    ["main", "dev/x", "v1.0", "ünï", "pr/1", "a@b", "x" * REF_BYTES_MAX, "0" * 39],
)
def test_refs_that_are_taken(ref: str) -> None:
    assert check_ref_part(ref) == ref


def test_refs_are_nfc() -> None:
    assert check_ref_part("cafe\u0301") == "caf\u00e9"


@given(st.text(max_size=12) | st.text(st.sampled_from("ab/.@{~^:\\-*?[ lock"), max_size=12))
@example("\ud800")
@example("K" * 255)
@example("\u0958" * 85)
def test_git_agrees_with_every_ref_that_gets_in(ref: str) -> None:
    """dulwich's reading of `git check-ref-format`: whatever we take, git would."""
    try:
        taken = check_ref_part(ref)
    except InvalidName:
        return
    assert check_ref_format(f"refs/heads/{taken}".encode())  # type: ignore[arg-type]
    assert check_ref_part(taken) == taken


# Hashes


@pytest.mark.parametrize(("kind", "digits"), [(Digest, 64), (XetHash, 64), (GitOid, 40)])
def test_hashes(kind: type[Digest] | type[XetHash] | type[GitOid], digits: int) -> None:
    good = ("0123456789abcdef" * 4)[:digits]
    assert kind(good) == good
    for bad in (
        good.upper(), good[:-1], good + "0", good[:-1] + "g", good + "\n", " " + good[1:], "",
        "０" * digits, good[:-1] + "\0", None, 5, good.encode(),
    ):  # fmt: skip
        with pytest.raises(BadRequest):
            kind(bad)  # type: ignore[arg-type]


@given(st.binary(min_size=32, max_size=32))
def test_xet_hashes_and_their_bytes(raw: bytes) -> None:
    assert XetHash.of_raw(raw).raw == raw
    assert XetHash(XetHash.of_raw(raw)) == XetHash.of_raw(raw)


def test_xet_hashes_are_little_endian_words() -> None:
    """The text form of the published protocol: each eight bytes turned round."""
    text = XetHash.of_raw(bytes(range(32)))
    assert text == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"


@given(st.text(max_size=200))
def test_foreign_text_in_a_message_is_tame(text: str) -> None:
    said = shown(text)
    assert said.isascii()
    assert said.isprintable()
    assert len(said) <= 84
    assume(len(ascii(text)) <= 80)
    assert said == ascii(text)
