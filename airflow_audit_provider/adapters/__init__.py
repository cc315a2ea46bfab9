"""The world, without Airflow: HTTP, object storage, the clock.

Knows: httpx, fsspec, the machine's clock. Must not know: Airflow, and which connection anything came from.
Its one rule: an adapter translates, it decides nothing.
"""
