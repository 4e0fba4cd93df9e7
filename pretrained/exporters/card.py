"""The card of exported files: what goes in, what comes out, how well they agree with the tokenizer."""

from typing import Any

from .base import Exporter

CLAMPING = ("onnx", "torch")
"""Formats whose decoder maps tokens, not codes, to pixels."""


def card(exporter: Exporter, facts: dict[str, Any], example: tuple[int, ...]) -> str:
    """Return README.md; `example` is the shape `h w c` of an image that the code on the card takes."""
    side, q, pixels = facts["downsample"], facts["num_codebooks"], facts["pixels"]
    black, white = pixels["black"], pixels["white"]
    values = {"height": example[0], "width": example[1], "side": side, "tokens": f"1 {q} y x"}
    values |= {"black": f"{black:g}", "white": f"{white:g}", "span": f"{white - black:g}"}
    has_decoder = facts["agreement"]["max_pixel_difference"] is not None
    usage = exporter.usage + (exporter.usage_of_decoder if has_decoder else "")
    sizes = f"{pixels['height']} x {pixels['width']}" if pixels["height"] else f"multiples of {side}"
    clamped = (
        "; the decoder takes others as the nearest of these" if facts["format"] in CLAMPING and has_decoder else ""
    )
    return f"""# {facts["tokenizer"]} for {exporter.title}

An image tokenizer, exported by {facts["written_by"]}; vistok itself is not needed to use it. `vistok.json` holds all of
this for programs.

| | |
| --- | --- |
| files | {", ".join(f"`{name}` ({what})" for what, name in facts["files"].items())} |
| pixels | `{pixels["layout"]}`, {pixels["type"]}, {pixels["colour"]}, black {black:g}, white {white:g} |
| height and width | {sizes} |
| tokens | `{facts["tokens"]["layout"]}`, {facts["tokens"]["type"]}, q = {q}, from 0 to {facts["vocab_size"] - 1}{clamped} |
| grid | {facts["coverage"]}, of each codebook |
| preprocessing | {", ".join(f"{key} {value}" for key, value in facts["preprocessing"].items())} |
| fingerprint | `{facts["fingerprint"]}` |

{_agreement(facts["agreement"])}{_left_out(facts.get("left_out", []))}

```python
{usage.format(**values).rstrip()}
```
"""


def _left_out(names: list[str]) -> str:
    return f" The decoder is the plain one; left out: {', '.join(names)}." if names else ""


def _agreement(found: dict[str, Any]) -> str:
    same = (
        f"On {found['photos']}, {found['same']:,} of {found['tokens']:,} tokens ({found['same'] / found['tokens']:.3%}) are "
        "those of vistok in float32"
    )
    if found["max_pixel_difference"] is None:
        return f"{same}. There is no decoder."
    return f"{same}; decoded pixels differ by {found['max_pixel_difference'] * 255:.2g} of 255 grey levels at most."
