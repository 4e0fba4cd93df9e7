"""Images as they are found: where they are, how they are opened, how they become pixels. Training and inference share it."""
