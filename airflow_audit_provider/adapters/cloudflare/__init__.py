"""The Cloudflare API over HTTP."""
