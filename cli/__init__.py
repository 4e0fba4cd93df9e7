"""What all commands share: how they begin and end, their options, and how they speak to users."""
