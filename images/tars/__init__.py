"""Read tar shards without losing a member: a damaged tar is an error, never a short one."""
