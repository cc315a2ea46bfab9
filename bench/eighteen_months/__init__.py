"""Measures a backfill of 18 months by a real Airflow under the API's rate limit, with two outages."""
