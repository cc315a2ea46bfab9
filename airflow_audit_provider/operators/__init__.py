"""Operators for Cloudflare audit logs."""
