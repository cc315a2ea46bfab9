"""Metrics, traces, lineage and progress of a task."""
