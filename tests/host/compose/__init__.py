"""Tests of the host side: compose."""
