"""Records ⇄ part bytes, deterministic: the same records, in the same order, are the same bytes.

Knows: file formats and compressions. Must not know: Airflow, stores, the API.
Its one rule: nothing of a record is lost; where a format has columns, the whole record stands beside them.
"""
