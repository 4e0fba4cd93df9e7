"""Write the table of docs/models.md from vistok's table of public tokenizers.

python scripts/write_public_table.py
"""

from pathlib import Path

from vistok.pretrained.public import PUBLIC, PublicTokenizer

PAGE = Path(__file__).parents[1] / "docs" / "models.md"
BEGIN, END = "<!-- written by scripts/write_public_table.py -->", "<!-- end -->"
HUB = "https://huggingface.co"
METRICS = {"rfid": "rFID", "psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS"}


def table() -> str:
    """Return the table as Markdown."""
    head = ["name", "family", "a token is", "codes", "parameters", "licence", "published", "downloaded from"]
    rows = [[f"`{name}`", *_cells(entry)] for name, entry in PUBLIC.items()]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def page() -> str:
    """Return the text of docs/models.md, with the table as it is now."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _cells(entry: PublicTokenizer) -> list[str]:
    covered = f"{entry.downsample} x {entry.downsample} pixels" if entry.downsample else "a part of the image"
    if entry.tokens:
        covered += f"; {entry.tokens} an image"
    codes = f"{entry.codes:,}" if entry.codebooks == 1 else f"{entry.codebooks} x {entry.codes:,}"
    numbers = ", ".join(f"{METRICS[name]} {value:g}" for name, value in entry.published.items())
    files = ", ".join(f"`{name}`" for name in entry.files)
    return [
        entry.family,
        covered,
        codes,
        f"{entry.parameters:.1f} M" if entry.parameters else "",
        entry.licence + (", gated" if entry.is_gated else ""),
        f"[{numbers}]({entry.published_in})" if numbers else "",
        f"[{entry.repository}]({HUB}/{entry.repository}): {files}{'' if entry.named_in else ' (unverified)'}",
    ]


if __name__ == "__main__":
    PAGE.write_text(page())
