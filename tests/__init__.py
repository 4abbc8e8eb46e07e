"""The tests: one folder per side, what they share in `support`."""
