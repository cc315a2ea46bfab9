"""Command line for auditors: ``airflow-audit-provider``, or ``python -m airflow_audit_provider.cli``.

It reads a copy of a destination and needs neither Airflow nor Cloudflare.
"""
