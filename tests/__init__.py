"""The tests: one folder a side, what they share in `support`."""
