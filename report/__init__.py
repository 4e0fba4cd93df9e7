"""One self-contained HTML page about a run or an evaluation; shared by training and inference."""
