"""Triggers for Cloudflare audit logs.

Knows: Airflow. Must not know: HTTP, pages, files.
Its one rule: a shell translates and decides nothing.
"""
