"""Tests that need a Docker engine: images, recipes, the reference stack."""
