"""Benchmarks of this provider against other ways to fetch the same records, on one machine in one run.

Invariant: the shipped package never imports it.
"""
