"""Doubles of the outside world, shipped so that your own DAG tests can use them too.

Knows: what the Cloudflare Audit Logs API is known to do, and every way it may misbehave.
Must not know: Airflow, the adapters, the pipeline or the shells; it reads records with its own eyes.
Its one rule: an independent witness never borrows the code it is meant to check.
"""
