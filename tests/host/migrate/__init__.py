"""Tests of the host side: migrate."""
