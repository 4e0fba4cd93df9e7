"""A self-contained HTML page about a run or an evaluation, for training and inference."""
