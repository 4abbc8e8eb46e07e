"""Tests of the host side: env."""
