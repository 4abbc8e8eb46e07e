"""Tests of the host side: store."""
