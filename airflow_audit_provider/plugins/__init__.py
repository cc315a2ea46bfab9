"""Airflow plugins. Every Airflow component imports them, so they import nothing else at module level."""
