"""Tests of the host side: what other programs get."""
