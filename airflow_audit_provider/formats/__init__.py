"""Formats of parts: records to bytes and back, deterministic for one version of the format's library.

Invariant: no format loses anything of a record. A format with columns has the record's own text in one of them.
"""
