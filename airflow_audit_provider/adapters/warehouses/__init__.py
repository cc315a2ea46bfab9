"""Warehouses: DuckDB, PostgreSQL and Iceberg."""
