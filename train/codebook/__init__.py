"""The codebook during a run: its monitor, its alarms, its initialization and revival."""
