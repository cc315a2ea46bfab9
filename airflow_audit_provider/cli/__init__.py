"""The auditor's command line: ``python -m airflow_audit_provider.cli``, or ``airflow-audit-provider``.

Knows: arguments, standard output, exit statuses. Must not know: Airflow, what is compared.
Its one rule: it works offline on a copy of the destination, without an Airflow.
"""
