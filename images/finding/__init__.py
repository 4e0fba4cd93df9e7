"""Which images there are: files, folders, lists and tar shards, as users name them."""
