"""Triggers for Cloudflare audit logs."""
