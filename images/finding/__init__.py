"""Find images: files, folders, .txt lists, brace ranges and tar shards, as users name them."""
