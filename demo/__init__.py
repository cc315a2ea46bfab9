"""The demo: a real Airflow, two weeks of audit log, and a comparison of every record, by one command.

Knows: how to put the shipped DAGs before a real scheduler on a machine that has only Python.
Must not know: how a record is fetched or written; it uses the package as any user would, from outside.
Its one rule: it ends with exit code 0 only if every record landed once, whole, and was compared.
"""
