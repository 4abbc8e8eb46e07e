"""Tests of the host side: backup."""
