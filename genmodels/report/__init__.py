"""Compares many runs: reads their directories, and writes tables and a page."""
