"""Tests of the container side."""
