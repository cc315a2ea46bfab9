"""Plugins of Airflow for Cloudflare audit logs.

Knows: Airflow. Must not know: HTTP, pages, files.
Its one rule: every component of Airflow imports this, so nothing else is imported with it.
"""
