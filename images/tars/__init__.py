"""Webdataset shards: the members of a tar, none of them lost without a word."""
