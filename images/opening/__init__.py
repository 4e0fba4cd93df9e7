"""Open image files as upright RGB images in sRGB."""
