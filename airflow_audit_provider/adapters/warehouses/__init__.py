"""Adapters of the warehouse port: DuckDB, PostgreSQL and Iceberg."""
