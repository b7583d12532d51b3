"""Trains one family of `kin_zoo`: a base from random weights and everything made from it.

Real runs of AdamW, seeded, FP32 master weights, saved as BF16; each child starts from its parent's
file, as one does who downloads it. Two architectures, Llama and Qwen2 (biases on q, k and v, tied
words), of two million numbers.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import zoo_train
from kin_derive import Derived
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM
from zoo_train import BATCH, SEQ_TOKENS, Run, State, as_bf16, as_f32, fit, prepare, write

VOCAB = 4_096
CHARS_MAX = 4_000_000  # of the text that the tokenizer is made from
HIDDEN, INNER, LAYERS, HEADS = 128, 352, 6, 4
STEPS = {"early": 240, "base": 300, "late": 340}
TUNING = 90  # steps of a fine-tune
STUDENT = 250
KINDS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


@dataclass(frozen=True, slots=True)
class Family:
    """`text`: what the base is trained on. `seed` makes it another one."""

    name: str
    arch: str
    seed: int
    text: str = "code"


def config(arch: str) -> LlamaConfig | Qwen2Config:
    more = {"attention_bias": False} if arch == "llama" else {"use_sliding_window": False}
    return KINDS[arch][0](
        vocab_size=VOCAB,
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=512,
        tie_word_embeddings=arch == "qwen2",
        bos_token_id=0,
        eos_token_id=1,
        dtype="float32",
        **more,
    )


def fresh(family: Family, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return KINDS[family.arch][1](config(family.arch)).float()


def loaded(family: Family, state: State) -> torch.nn.Module:
    model = fresh(family, 0)
    model.load_state_dict(as_f32(state), strict=False)
    return model


def make_tokenizer(path: Path) -> Tokenizer:
    return zoo_train.make_tokenizer(path, VOCAB, CHARS_MAX)


class Trainer:
    """One family's runs."""

    def __init__(self, folder: Path, family: Family, tokenizer: Tokenizer) -> None:
        self.folder = folder
        self.family = family
        self.tokenizer = tokenizer
        self.derived = Derived(folder, family.arch, family.seed, HEADS)
        self._ids: dict[str, torch.Tensor] = {}

    def state(self, name: str) -> State:
        return load_file(self.folder / f"{name}.safetensors")

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def save(self, name: str, model: torch.nn.Module) -> None:
        state = {k: v.clone() for k, v in model.state_dict().items()}
        if self.family.arch == "qwen2":
            state.pop("lm_head.weight", None)
        write(self.path(name), as_bf16(state))

    def batches(self, text: str, rng: random.Random) -> Iterator[torch.Tensor]:
        if text not in self._ids:
            self._ids[text] = torch.tensor(self.tokenizer.encode(zoo_train.corpus(text)).ids)
        ids = self._ids[text]
        while True:
            starts = [rng.randrange(len(ids) - SEQ_TOKENS) for _ in range(BATCH)]
            yield torch.stack([ids[s : s + SEQ_TOKENS] for s in starts])

    def run(
        self,
        model: torch.nn.Module,
        run: Run,
        loss: Callable[[torch.nn.Module, torch.Tensor], torch.Tensor] | None = None,
        floor: float | None = None,
    ) -> None:
        """Train `model`; each kept step becomes a member."""
        rng = prepare(run.seed)
        of = loss or (lambda model, batch: model(input_ids=batch, labels=batch).loss)
        losses = (of(model, batch) for batch in self.batches(run.text, rng))

        def progress(name: str, step: int, value: float) -> None:
            if step == run.steps:
                print(f"{self.family.name} {name} step {step} loss {value:.3f}", flush=True)

        fit(model, losses, run, lambda name: self.save(name, model), progress, floor)

    # Members

    def bases(self) -> None:
        keep = {step: name for name, step in STEPS.items()}
        run = Run(self.family.text, 2e-3, keep, self.family.seed)
        self.run(fresh(self.family, self.family.seed), run, floor=0.1)

    def tuned(self, name: str, parent: str, text: str, rate: float, *frozen: str) -> None:
        """A fine-tune; parameters whose name begins like one of `frozen` stay."""
        model = loaded(self.family, self.state(parent))
        for key, value in model.named_parameters():
            value.requires_grad = not key.startswith(frozen) if frozen else True
        self.run(model, Run(text, rate, {TUNING: name}, _seed(self.family, name)))

    def lora(self, name: str, parent: str, text: str) -> None:
        shape = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(loaded(self.family, self.state(parent)), shape)
        run = Run(text, 5e-4, {TUNING: name}, _seed(self.family, name))
        rng = prepare(run.seed)
        losses = (model(input_ids=b, labels=b).loss for b in self.batches(text, rng))
        fit(model, losses, run, lambda _: None, lambda *_: None)
        self.save(name, model.merge_and_unload())

    def twin(self, name: str) -> None:
        """The same first weights, another text."""
        model = fresh(self.family, self.family.seed)
        self.run(model, Run("prose", 2e-3, {STEPS["base"]: name}, self.family.seed + 77), floor=0.1)

    def student(self, name: str, teacher: str) -> None:
        """Another model from random weights that learns what the teacher answers."""
        wise = loaded(self.family, self.state(teacher)).eval()

        def loss(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                wanted = wise(input_ids=batch).logits.log_softmax(-1)
            got = model(input_ids=batch).logits.log_softmax(-1)
            return (
                torch.nn.functional.kl_div(got, wanted, reduction="batchmean", log_target=True)
                / batch.shape[1]
            )

        seed = _seed(self.family, name)
        run = Run(self.family.text, 2e-3, {STUDENT: name}, seed)
        self.run(fresh(self.family, seed), run, loss, floor=0.1)


def _seed(family: Family, name: str) -> int:
    return 1 + family.seed * 1_000 + sum(ord(c) * (n + 1) for n, c in enumerate(name)) % 997
