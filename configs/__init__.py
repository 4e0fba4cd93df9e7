"""Values only: a run a file, an ablation a folder. Shipped so that `train-tokenizer` works from an installed package."""
