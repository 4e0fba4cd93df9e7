"""The kernels of the search compile for GPUs that are not here."""

import os
import subprocess
import sys

import pytest

COMPILED = """
import sys, triton
from triton.backends.compiler import GPUTarget
from vistok.tokenizer.quantizers.search.kernels import blocks, groups
kinds = dict(vectors="*bf16", codes="*bf16", offsets="*fp32", firsts="*i32", seconds="*i32", found_scores="*fp32")
for capability, width in ((80, 192), (90, 32), (120, 256)):
    cut = blocks.blocks_for(width, capability // 10)
    names = groups._two_best.arg_names
    fixed = dict(width=width, block_vectors=cut.vectors, block_codes=cut.codes, block_channels=blocks.block_of(width))
    fixed |= dict(group=blocks.GROUP, held=True, in_float32=False)
    types = {name: "constexpr" if name in fixed else kinds.get(name, "i32") for name in names}
    source = triton.compiler.ASTSource(
        groups._two_best, types, {(names.index(name),): value for name, value in fixed.items()},
        {(names.index(name),): [["tt.divisibility", 16]] for name in kinds},
    )
    options = dict(num_warps=cut.warps, num_stages=cut.stages)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    ptx = made.asm["ptx"]
    kind = "wgmma.mma_async" if capability == 90 else "mma.sync"
    shared = {80: 163, 90: 227, 120: 99}[capability] * 1024  # what a block may have: CUDA's table of compute capabilities
    print(kind in ptx and "f32.bf16.bf16" in ptx and made.metadata.shared <= shared)
"""


def test_the_kernels_compile_to_tensor_core_instructions_without_a_gpu():
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILED], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 3, done.stderr


OTHERS = """
import sys, triton
from triton.backends.compiler import GPUTarget
from vistok.tokenizer.quantizers.search.kernels import blocks, choice, parts, settling
kinds = dict.fromkeys(("vectors", "codes", "centre", "scores", "offsets", "lengths", "longest"), "*fp32")
kinds |= dict.fromkeys(("counters", "firsts", "seconds", "doubtful", "codes_found"), "*i32")
kinds |= dict(vector_parts="*bf16", code_parts="*bf16", indices="*i64", distances_found="*fp64")
kinds |= dict.fromkeys(("smallest", "product_factor", "score_factor", "absolute_factor"), "fp32")
kernels = {
    parts._prepare: dict(rows_block=parts.ROWS, channels_block=parts.CHANNELS, counters_count=parts.COUNTERS),
    choice._choose: dict(exact=True, group=blocks.GROUP, rows_block=choice.ROWS, max_programs=parts.MAX_PROGRAMS),
    settling._settle: dict(programs=528, rows_block=settling.ROWS, codes_block=settling.CODES),
}
ones = ("n", "k", "d", "splits")  # an argument of 1 is a constant
for kernel, fixed in kernels.items():
    names = kernel.arg_names
    for more in ({"is_dot": False}, {"is_dot": True} | {name: 1 for name in ones if name in names}):
        constants = fixed | more
        types = {name: "constexpr" if name in constants else kinds.get(name, "i32") for name in names}
        places = {(names.index(name),): value for name, value in constants.items()}
        made = triton.compile(triton.compiler.ASTSource(kernel, types, places), target=GPUTarget("cuda", 90, 32))
        print(len(made.asm["cubin"]) > 0)
"""


def test_the_other_kernels_compile_without_a_gpu():
    """The interpreter runs them as Python, with types and branches that the compiler may refuse."""
    pytest.importorskip("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", OTHERS], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 6, done.stderr
