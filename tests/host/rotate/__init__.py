"""Tests of the host side: rotate."""
