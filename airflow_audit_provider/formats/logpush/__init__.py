"""Files of Cloudflare's Logpush: read as rows, and written in the same form."""
