"""From what users type to samples: each image with its key and the files that belong to it."""
