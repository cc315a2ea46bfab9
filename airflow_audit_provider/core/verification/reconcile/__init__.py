"""Comparison of a Logpush archive with a committed dataset: fields, content, tallies and the report."""
