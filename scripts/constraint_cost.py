"""What the constraint costs for each id that is generated, as a fraction of the step of a tiny Llama with a key-value cache.

    python scripts/constraint_cost.py [--device cuda] [--layers 4] [--width 256]

Both run in turn on the same logits, and the fastest of each is taken. A larger model makes the fraction smaller.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from vistok.sequences.constraint import ImageConstraint
from vistok.sequences.layouts import Grid, Layout, build_layout
from vistok.sequences.modality import Modality
from vistok.sequences.numbers import NumberText
from vistok.sequences.vocabulary import Vocabulary

TEXT, GRID, ROUNDS = 1_000, Grid(32, 32), 15
DIGITS, MARK = 10, 20
PROMPT = 8


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[8_192, 65_536, 260_000])
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8])
    options = parser.parse_args()
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {options.device}, {threads} threads, {options.layers} layers of {options.width}")
    print(
        "| ids | rows | a step of the model | grid given, from start | grid given, begun by the model | one of 64 grids |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for size in options.vocabularies:
        layout = build_layout("emu3", vocabulary(size))
        model = LlamaForCausalLM(config(layout.vocabulary.size, options)).eval().to(options.device)
        for rows in options.rows:
            step, *constraints = compare(model, layout, rows, options.device)
            fractions = " | ".join(f"{seconds / step:.1%}" for seconds in constraints)
            print(f"| {size:,} | {rows} | {step * 1e3:.2f} ms | {fractions} |", flush=True)


def vocabulary(size: int) -> Vocabulary:
    """Return a vocabulary of some text and `size` codes."""
    roles = ("begin", "end", "image", "row_end", "rows_end")
    spelled = [tuple(DIGITS + int(digit) for digit in str(number)) for number in range(1, 65)]
    image = Modality("image", (TEXT,), size, {role: 30 + index for index, role in enumerate(roles)})
    text = Modality("text", (0,), TEXT, {"end": 1, "pad": 2})
    return Vocabulary((text, image), NumberText("*", [(*ids, MARK) for ids in spelled], spelled))


def config(size: int, options: argparse.Namespace) -> Any:
    """Return the config of a tiny Llama."""
    return LlamaConfig(
        vocab_size=size,
        hidden_size=options.width,
        intermediate_size=4 * options.width,
        num_hidden_layers=options.layers,
        num_attention_heads=8,
        max_position_embeddings=2048,
    )


@torch.no_grad()
def compare(model: Any, layout: Layout, rows: int, device: str) -> list[float]:
    """Return seconds of a step of the model, and of each constraint, in the middle of an image."""
    image = layout.slots(GRID).first[: layout.length(GRID) // 2]
    ids = torch.cat([torch.full((PROMPT,), 5), image]).expand(rows, -1).to(device)
    output = model(ids[:, :-1], use_cache=True)
    name = "cache" if "cache" in output else "past_key_values"
    cache, length = output[name], ids.shape[1] - 1

    def step() -> torch.Tensor:
        if cache.get_seq_length() > length:
            cache.crop(-1)  # what the step before added
        return model(ids[:, -1:], **{name: cache}, use_cache=True).logits[:, -1]

    scores = step().float()
    sides = [Grid(y, x) for y in range(25, 33) for x in range(25, 33)]
    constraints = [
        ImageConstraint(layout, GRID, start=PROMPT),
        ImageConstraint(layout, GRID),
        ImageConstraint(layout, choices=sides),
    ]
    steps, seconds = [], [[] for _ in constraints]  # type: ignore[var-annotated]
    for _ in range(ROUNDS):
        steps.append(timed(step, device))
        for constraint, times in zip(constraints, seconds, strict=True):
            constraint(ids[:, :-1], scores)  # the call before, after which this one checks no prompt
            times.append(timed(partial(constraint, ids, scores), device))
    return [min(times) for times in (steps, *seconds)]


def timed(work: Callable[[], Any], device: str) -> float:
    """Return how many seconds a call took."""
    before = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - before


if __name__ == "__main__":
    main()
