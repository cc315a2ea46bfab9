"""Stores of the request budget that all users of one token share, and its client."""
