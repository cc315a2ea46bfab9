"""Command line for auditors: ``airflow-audit-provider``, or ``python -m airflow_audit_provider.cli``.

Its commands for auditors read a copy of a destination and need neither Airflow nor Cloudflare; ``plan`` needs both.
"""
