"""Measurements, which no test judges."""
