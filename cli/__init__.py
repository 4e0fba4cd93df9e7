"""What all commands share: launching, options, errors, interruption, printing and progress."""
