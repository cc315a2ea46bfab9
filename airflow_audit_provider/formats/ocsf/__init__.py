"""Audit records as OCSF events."""
