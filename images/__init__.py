"""Image files to pixels: finding, opening, resizing, saving. Training and inference share it."""
