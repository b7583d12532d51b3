"""Trains the zoo: real runs of AdamW on one core, seeded, FP32 master weights, saved as BF16.

    embedder(folder, base)         fine-tunes of all-MiniLM-L6-v2, contrastive, by two kinds of pair
    pretrain(folder, tokenizer)    a small Llama from random weights, and its checkpoints
    finetune(folder, base, run)    the same Llama trained on
    lora(folder, base)             a PEFT adapter, and the model with it merged in

A fine-tune starts from the base's BF16 file, as one does who downloads it. Settings are what
transformers' Trainer has when nobody touches them: weight decay on matrices only, warm-up over
10 % of the steps and then linear decay, gradients clipped to 1; pretraining decays by a cosine to
a tenth. No setting was chosen for how well the result compresses.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import zoo_text
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModel, AutoTokenizer, LlamaConfig, LlamaForCausalLM

State = dict[str, torch.Tensor]

WEIGHT_DECAY = 0.01
WARM_UP = 0.1  # of all steps
CLIP = 1.0
BATCH = 16
SEQ_TOKENS = 64
VOCAB = 8192
TEMPERATURE = 0.05  # of the contrastive loss: scale 20, sentence-transformers' own
REPORT_EVERY = 25


@dataclass(frozen=True, slots=True)
class Run:
    """One trajectory: `keep` maps steps to the members saved there; the last ends the run."""

    text: str
    rate: float
    keep: dict[int, str]
    seed: int

    @property
    def steps(self) -> int:
        return max(self.keep)


EMBEDDERS = (
    Run("summary", 2e-5, {150: "ftA-s150", 175: "ftA-s175", 200: "ftA-s200"}, 11),
    Run("name", 1e-5, {100: "ftB-s100"}, 12),
)
PRETRAINING = Run("code", 1e-3, {500: "pre-s500", 550: "pre-s550", 600: "pre-s600"}, 1)
FINETUNES = (
    Run("prose", 2e-5, {125: "ft1-s125", 150: "ft1-s150"}, 2),
    Run("torch", 1e-5, {120: "ft2"}, 3),
    Run("prose", 1e-6, {60: "ft3"}, 4),
    Run("torch", 1e-4, {80: "ft4"}, 5),
)
LORA = Run("prose", 2e-4, {100: "lora_r8_merged"}, 6)

Losses = dict[str, list[float]]
Progress = Callable[[str, int, float], None]


def prepare(seed: int) -> random.Random:
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    return random.Random(seed)


def fit(
    model: torch.nn.Module,
    losses: Iterator[torch.Tensor],
    run: Run,
    save: Callable[[str], None],
    progress: Progress,
    floor: float | None = None,
) -> None:
    """Take `run.steps` steps down `losses`; with `floor`, by a cosine to that share of the rate."""
    named = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in named if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in named if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=run.rate)
    warm = max(1, round(run.steps * WARM_UP))

    def rate(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        left = (run.steps - step) / max(1, run.steps - warm)
        if floor is None:
            return left
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (1 - left)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    model.train()
    for step in range(1, run.steps + 1):
        loss = next(losses)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(named, CLIP)
        optimizer.step()
        schedule.step()
        if step in run.keep or step % REPORT_EVERY == 0 or step == 1:
            progress(run.keep[run.steps], step, loss.item())
        if step in run.keep:
            save(run.keep[step])


# Files


def write(path: Path, state: State) -> None:
    """A safetensors file as transformers writes it; there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".aside")
    save_file({k: v.detach().contiguous() for k, v in state.items()}, aside, {"format": "pt"})
    aside.rename(path)


def as_bf16(state: State) -> State:
    return {k: v.to(torch.bfloat16) if v.is_floating_point() else v for k, v in state.items()}


def as_f32(state: State) -> State:
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


# The embedder


def contrastive(
    model: torch.nn.Module, tokenizer: AutoTokenizer, run: Run, rng: random.Random
) -> Iterator[torch.Tensor]:
    """In a batch of pairs, each question's answer must be nearer than the others' answers."""

    def embed(texts: Sequence[str]) -> torch.Tensor:
        tokens = tokenizer(
            list(texts), padding=True, truncation=True, max_length=SEQ_TOKENS, return_tensors="pt"
        )
        hidden = model(**tokens).last_hidden_state
        mask = tokens["attention_mask"].unsqueeze(-1)
        return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)

    data = zoo_text.pairs(run.text)
    while True:
        rng.shuffle(data)
        for start in range(0, len(data) - BATCH + 1, BATCH):
            left, right = zip(*data[start : start + BATCH], strict=True)
            scores = embed(left) @ embed(right).T / TEMPERATURE
            yield torch.nn.functional.cross_entropy(scores, torch.arange(BATCH))


def embedder(folder: Path, package: Path, base: Path, run: Run, progress: Progress) -> None:
    """Fine-tune the model of `package` (its tokenizer and config), starting from `base`."""
    rng = prepare(run.seed)
    model = AutoModel.from_pretrained(package, dtype=torch.float32)
    start = load_file(base)
    model.load_state_dict(as_f32(start), strict=False)

    def save(name: str) -> None:
        now = model.state_dict()
        # What is in the file and not in the model (position numbers) stays as it was.
        state = {key: now.get(key, value) for key, value in start.items()}
        write(folder / name / "model.safetensors", as_bf16(state))
        model.config.save_pretrained(folder / name)

    tokenizer = AutoTokenizer.from_pretrained(package)
    fit(model, contrastive(model, tokenizer, run, rng), run, save, progress)


# The Llama


def make_tokenizer(path: Path, vocab_size: int = VOCAB, chars_max: int | None = None) -> Tokenizer:
    """A byte-level BPE of the text that the model is pretrained on, or of its beginning."""
    if not path.exists():
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=["<s>", "</s>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        made.train_from_iterator([corpus("code")[:chars_max]], trainer)
        path.parent.mkdir(parents=True, exist_ok=True)
        made.save(str(path))
    return Tokenizer.from_file(str(path))


def corpus(name: str) -> str:
    if name == "prose":
        return zoo_text.prose()
    return zoo_text.code("" if name == "code" else name, chars_max=6_000_000)


def config() -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=320,
        intermediate_size=896,
        num_hidden_layers=8,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        dtype="bfloat16",
    )


def language(
    model: torch.nn.Module, tokenizer: Tokenizer, run: Run, rng: random.Random
) -> Iterator[torch.Tensor]:
    ids = torch.tensor(tokenizer.encode(corpus(run.text)).ids)
    while True:
        starts = [rng.randrange(len(ids) - SEQ_TOKENS) for _ in range(BATCH)]
        batch = torch.stack([ids[s : s + SEQ_TOKENS] for s in starts])
        yield model(input_ids=batch, labels=batch).loss


def from_file(base: Path) -> LlamaForCausalLM:
    """The model of a BF16 file, in FP32."""
    model = LlamaForCausalLM(config())
    model.load_state_dict(as_f32(load_file(base)))
    return model.float()


def save_llama(folder: Path, model: LlamaForCausalLM) -> None:
    write(folder / "model.safetensors", as_bf16(model.state_dict()))
    model.config.save_pretrained(folder)


def pretrain(folder: Path, tokenizer: Tokenizer, progress: Progress) -> None:
    run = PRETRAINING
    rng = prepare(run.seed)
    model = LlamaForCausalLM(config()).float()
    batches = language(model, tokenizer, run, rng)
    fit(model, batches, run, lambda n: save_llama(folder / n, model), progress, floor=0.1)


def finetune(folder: Path, base: Path, tokenizer: Tokenizer, run: Run, progress: Progress) -> None:
    rng = prepare(run.seed)
    model = from_file(base)
    batches = language(model, tokenizer, run, rng)
    fit(model, batches, run, lambda n: save_llama(folder / n, model), progress)


def lora(folder: Path, base: Path, tokenizer: Tokenizer, progress: Progress) -> None:
    """An adapter of rank 8 on every linear layer, and `merge_and_unload` of what was saved."""
    run = LORA
    rng = prepare(run.seed)
    shape = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(from_file(base), shape)
    fit(model, language(model, tokenizer, run, rng), run, lambda _: None, progress)
    model.save_pretrained(folder / "lora_r8")
    merged = PeftModel.from_pretrained(from_file(base), folder / "lora_r8").merge_and_unload()
    save_llama(folder / run.keep[run.steps], merged)
