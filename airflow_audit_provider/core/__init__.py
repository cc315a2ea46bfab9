"""Pure core: decisions about windows, pages, commits and findings.

Invariant: no I/O, clock, randomness or logging; time is a parameter. It imports the standard library, msgspec and
pendulum only.
"""
