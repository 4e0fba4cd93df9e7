"""Token shards as a dataset for training: rows at random, or as a stream that is shuffled, split and resumed."""
