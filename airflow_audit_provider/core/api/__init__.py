"""The Audit Logs API as values: requests, responses, records, rate limits and retries."""
