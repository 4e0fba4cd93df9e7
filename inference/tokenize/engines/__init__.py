"""Where shards are made: in this process, in one for each device, in processes of a launch, or on a Ray cluster."""
