"""The formats of image files: what decides the pixels, and how each is looked at before they are decoded."""
