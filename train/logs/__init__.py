"""What a run tells: its log files, the trackers and the console."""
