"""Assets for Cloudflare audit logs."""
