"""Hook for Cloudflare connections."""
