"""Tests of the host side: audit."""
