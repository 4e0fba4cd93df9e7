"""What a run records: log files, trackers and console."""
