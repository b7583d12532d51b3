"""What every step of the scenario uses: its context, the registry of steps, and the checks.

A step is a function of a `Context` that returns facts (JSON) or raises. Steps run in the order
in which they are defined; each can also run alone once the ones before it have been run, since
all content is made from the seed and all state lies in the hub.
Only the standard library and the client: it runs inside the client venvs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from content import scratch, sha256
from huggingface_hub import HfApi
from huggingface_hub.errors import LocalEntryNotFoundError

Facts = dict[str, Any]
Step = Callable[["Context"], Facts]
STEPS: dict[str, Step] = {}
EXTRA_STEPS: dict[str, Step] = {}  # run only when named: they serve other scenarios
SHOWN_CHARS_MAX = 600  # of a value in a failure message


class Mismatch(AssertionError):
    """The hub's answer is not what a client may rely on."""


@dataclass(frozen=True, slots=True)
class Context:
    api: Any  # HfApi; typed loosely because three releases with differing signatures run this
    endpoint: str
    user: str
    seed: str
    work: Path  # a folder for local files
    store: Path  # the server's store, whose growth is measured
    stranger: str  # the token of another user
    owners: tuple[str, ...]  # whose shared repos to read, in EXTRA_STEPS
    xet: bool

    def repo(self, name: str) -> str:
        return f"{self.user}/{name}"

    def other(self, token: str | bool) -> Any:
        """The API as somebody else: another token, or False for nobody."""
        return HfApi(endpoint=self.endpoint, token=token)

    def fetched(self, repo_id: str, path: str, **options: Any) -> bytes:
        """The bytes of a file, downloaded into an empty cache."""
        api = options.pop("api", self.api)
        with scratch(self.work) as cache:
            return Path(api.hf_hub_download(repo_id, path, cache_dir=cache, **options)).read_bytes()


def step(function: Step) -> Step:
    """Register a step of the scenario under its function's name."""
    STEPS[function.__name__] = function
    return function


def extra_step(function: Step) -> Step:
    """Register a step that runs only when it is named."""
    EXTRA_STEPS[function.__name__] = function
    return function


def check(truth: object, what: str) -> None:
    """Mismatch, saying `what` should be so, unless `truth`."""
    if not truth:
        raise Mismatch(f"not so: {what}")


def same(got: object, wanted: object, what: str) -> None:
    """Mismatch unless the two are equal."""
    if got != wanted:
        raise Mismatch(f"{what}: got {_shown(got)}, wanted {_shown(wanted)}")


def same_bytes(got: bytes, wanted: bytes, what: str) -> None:
    """Mismatch unless the two have one SHA-256."""
    if sha256(got) != sha256(wanted):
        raise Mismatch(
            f"bytes of {what}: got {len(got)} bytes {sha256(got)}, "
            f"wanted {len(wanted)} bytes {sha256(wanted)}"
        )


def same_set(got: Iterable[str], wanted: Iterable[str], what: str) -> None:
    """Mismatch, naming the differences, unless both hold the same names."""
    have, want = set(got), set(wanted)
    if have != want:
        raise Mismatch(
            f"{what}: missing {_shown(sorted(want - have))}, too many {_shown(sorted(have - want))}"
        )


def refused(
    kind: type[BaseException],
    call: Callable[..., object],
    *args: object,
    status: int | None = None,
    **options: object,
) -> None:
    """Mismatch unless `call(*args, **options)` raises a `kind` (for HTTP `status`, if given).

    A lazy answer (listings are generators) is read to its end first. LocalEntryNotFoundError is
    what the client makes of a hub that fails; as a kind of EntryNotFoundError it would pass.
    """
    try:
        answer = call(*args, **options)
        if isinstance(answer, Iterator):
            answer = list(answer)
    except LocalEntryNotFoundError as error:
        raise Mismatch(f"expected {kind.__name__}, got no usable answer: {error}") from error
    except kind as error:
        if status is not None:
            got = getattr(getattr(error, "response", None), "status_code", None)
            same(got, status, f"HTTP status of {type(error).__name__} ({error})")
        return
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
        raise Mismatch(f"expected {kind.__name__}, got {found}") from error
    raise Mismatch(f"expected {kind.__name__}, got an answer: {_shown(answer)}")


def _shown(value: object) -> str:
    text = repr(value)
    return (
        text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}… ({len(text)} chars)"
    )
