"""The demo: a real Airflow, two weeks of audit logs, and a comparison of every record, by one command.

It uses the package from outside, as any user does, and exits with 0 only if every record landed once and unchanged.
"""
