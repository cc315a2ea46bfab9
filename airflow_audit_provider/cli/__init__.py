"""Command line: ``airflow-audit-provider``, or ``python -m airflow_audit_provider.cli``.

Its commands for auditors read a copy of a destination and need neither Airflow nor Cloudflare; ``plan`` and ``pull``
need Cloudflare, and Airflow as a library, but no running Airflow.
"""
