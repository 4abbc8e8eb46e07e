"""What will not work on this machine, and what to do."""
