"""Measurements: this provider against other ways to the same records, on one machine in one run.

Knows: nothing itself; ``python -m bench`` runs it.
Must not know: Airflow's inside, Cloudflare.
Its one rule: nothing shipped imports it.
"""
