"""A zoo of models whose ancestry is known: five bases of two architectures, 23 members each.

    python bench/kin_zoo.py [--cache DIR] [--seed N] [--jobs N]

Needs the `bench` dependency group. Some 40 CPU minutes for a seed the first time, then kept. The
seed draws the first weights, the order of the text, permutations and turns.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path("~/.cache/headwater-bench").expanduser()
BASES = (("llama", "code"), ("llama", "code"), ("llama", "prose"), ("qwen2", "code"),
         ("qwen2", "prose"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Member:
    """`parents` in the same family; none: it has none, whatever it looks like. `kind`: what a
    relation is called (`lineage.relation`). `decidable`: whether weights tell who came first."""

    name: str
    parents: tuple[str, ...]
    kind: str
    decidable: bool = False


# In the order in which they were made, as a hub would see them arrive.
MEMBERS = (
    Member("early", (), "none"),
    Member("base", ("early",), "tuned"),
    Member("late", ("base",), "tuned"),
    Member("ft1", ("base",), "tuned"),
    Member("ft2", ("base",), "tuned"),
    Member("ftft", ("ft1",), "tuned"),
    Member("frozen", ("base",), "tuned"),
    Member("lora", ("base",), "lora"),
    Member("merge2", ("ft1", "ft2"), "merged", True),
    Member("merge3", ("base", "ft1", "ft2"), "merged", True),
    Member("int8", ("base",), "quantized", True),
    Member("int4", ("ft2",), "quantized", True),
    Member("q8", ("ft1",), "quantized", True),
    Member("q4", ("ftft",), "quantized", True),
    Member("pruned", ("base",), "pruned", True),
    Member("cut", ("ft1",), "cut", True),
    Member("longer", ("ft2",), "resized", True),
    Member("renamed", ("ft1",), "copy"),
    Member("permuted", ("base",), "permuted"),
    Member("permuted-ft", ("permuted",), "tuned"),
    Member("rotated", ("ft2",), "rotated"),
    Member("twin", (), "none"),
    Member("student", (), "none"),
)


def path_of(cache: Path, seed: int, number: int, name: str) -> Path:
    """Where a member of family `number` lies."""
    end = "gguf" if name in ("q8", "q4") else "safetensors"
    return cache / "kin" / str(seed) / f"{BASES[number][0]}-{number}" / f"{name}.{end}"


def build(cache: Path, seed: int, jobs: int = 2) -> None:
    """Make what is missing, families side by side."""
    from kin_train import make_tokenizer

    make_tokenizer(cache / "kin" / "tokenizer.json")
    with ProcessPoolExecutor(jobs) as pool:
        for done in [pool.submit(family, cache, seed, n) for n in range(len(BASES))]:
            done.result()


def family(cache: Path, seed: int, number: int) -> None:
    """One base and its kin."""
    from kin_train import Family, Trainer, make_tokenizer

    arch, text = BASES[number]
    folder = path_of(cache, seed, number, "base").parent
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        folder,
        Family(folder.name, arch, 100 * seed + number, text),
        make_tokenizer(cache / "kin" / "tokenizer.json"),
    )
    d = trainer.derived
    other = "prose" if text == "code" else "code"
    layers = tuple(f"model.layers.{n}." for n in range(3))
    steps = {
        ("early", "base", "late"): trainer.bases,
        ("ft1",): lambda: trainer.tuned("ft1", "base", other, 1e-4),
        ("ft2",): lambda: trainer.tuned("ft2", "base", "numpy", 3e-5),
        ("ftft",): lambda: trainer.tuned("ftft", "ft1", "numpy", 5e-5),
        ("frozen",): lambda: trainer.tuned("frozen", "base", other, 1e-4, "model.embed", *layers),
        ("lora",): lambda: trainer.lora("lora", "base", other),
        ("merge2",): lambda: d.merged("merge2", "ft1", "ft2"),
        ("merge3",): lambda: d.merged("merge3", "base", "ft1", "ft2"),
        ("int8",): lambda: d.int8("int8", "base"),
        ("int4",): lambda: d.int4("int4", "ft2"),
        ("q8",): lambda: d.gguf("q8", "ft1", "Q8_0"),
        ("q4",): lambda: d.gguf("q4", "ftft", "Q4_0"),
        ("pruned",): lambda: d.pruned("pruned", "base"),
        ("cut",): lambda: d.cut("cut", "ft1"),
        ("longer",): lambda: d.longer("longer", "ft2"),
        ("renamed",): lambda: d.renamed("renamed", "ft1"),
        ("permuted",): lambda: d.permuted("permuted", "base"),
        ("permuted-ft",): lambda: trainer.tuned("permuted-ft", "permuted", "numpy", 5e-5),
        ("rotated",): lambda: d.rotated("rotated", "ft2"),
        ("twin",): lambda: trainer.twin("twin"),
        ("student",): lambda: trainer.student("student", "base"),
    }
    for names, make in steps.items():
        if not all(path_of(cache, seed, number, name).exists() for name in names):
            make()


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--cache", type=Path, default=DEFAULT)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--jobs", type=int, default=2)
    chosen = options.parse_args(arguments)
    build(chosen.cache.absolute(), chosen.seed, chosen.jobs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
