"""Sensors for Cloudflare audit logs."""
