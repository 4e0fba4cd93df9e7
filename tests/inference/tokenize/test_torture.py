"""Killed at random moments, tokenize-images ends with the bytes of a run that nobody disturbed."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts" / "torture_tokenize.py"


def test_kills_leave_no_trace(tokenizer_folder, tmp_path):
    options = ["--kills", "2", "--images", "48", "--model", tokenizer_folder, "--engines", "local,processes"]
    options += ["--out", tmp_path / "figures.json"]
    done = subprocess.run([sys.executable, SCRIPT, *map(str, options)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads((tmp_path / "figures.json").read_text())
    assert facts["differences"] == [] and facts["kills"] == 2 and sum(facts["runs"].values()) >= 3
    # Of the 48 photos 2 are broken; a link to nowhere, a fifo and a missing line come on top, and a long name that is fine.
    # Each of the 6 tars has 8 images, of which one is empty, 2 links and a fifo. The damaged one has no shard: exit code 1.
    assert (facts["images"], facts["failures"]) == (48 - 2 + 1 + 6 * (7 + 2), 2 + 3 + 6 * (1 + 1))
    assert (facts["exit_code"], facts["shards"]) == (1, -(-(48 + 4) // 4) + 6)
