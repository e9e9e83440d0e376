"""Benchmarks: every one prints the machine it ran on."""
