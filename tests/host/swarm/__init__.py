"""Tests of the host side: swarm."""
