"""The pure core: values in, values out, or a named error.

Knows: the rules of the job. Must not know: I/O, clocks, randomness, logging, Airflow.
Its one rule: standard library, msgspec and pendulum only; time is a parameter.
"""
