"""Benchmarks and dataset readers, run as `python -m evaluation NAME`; not part of the installed package."""
