"""The training curves of extra decoders, gathered from their run folders: losses, spread, |teacher - fake|, PSNR.

    python scripts/decoder_curves.py --out results/decoder_curves.json --figure results/decoder_curves.png \
        --runs gan=gan/stages/gan flow=fgm/stages/flow distill=fgm/stages/distill fgm=fgm/stages/fgm

RUN_FOLDER is OUT/stages/STAGE of finetune-tokenizer --decoder, or run.out of train-tokenizer with a decoder section; a run that
is still going is read as far as it is. The file has for each run its settings, the last step of the log and the training
crops up to there, and by log path the steps and values of each curve: four significant digits, at most 100 lines of the log.
Losses are not weighted, but for loss/total. The figure needs matplotlib.
"""

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path

from decoder_judging.curve_figure import plot
from decoder_judging.curves import gather, parse_runs
from vistok.tokenizer.files import write_whole


def main() -> int:
    """Gather the curves; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", nargs="+", required=True, metavar="LABEL=RUN_FOLDER", help="in the legend's order")
    parser.add_argument("--out", type=Path, default=Path("results/decoder_curves.json"))
    parser.add_argument("--figure", type=Path, help="PNG to draw, 900 pixels wide; default: none")
    arguments = parser.parse_args()
    if arguments.figure and find_spec("matplotlib") is None:
        parser.error("--figure needs matplotlib: pip install matplotlib.")
    warnings: list[str] = []
    try:
        runs = {run.label: gather(run.folder, warnings) for run in parse_runs(arguments.runs)}
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(arguments.out, (json.dumps({"runs": runs}, sort_keys=True, allow_nan=False) + "\n").encode())
    if arguments.figure:
        arguments.figure.parent.mkdir(parents=True, exist_ok=True)
        plot(runs, arguments.figure)
    for label, run in runs.items():
        print(f"{label}: {len(run['curves'])} curves up to step {run['step']:,}, {run['images']:,} crops")
    return 0


if __name__ == "__main__":
    sys.exit(main())
