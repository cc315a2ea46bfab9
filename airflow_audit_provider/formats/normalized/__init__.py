"""The normalized schema: one table for both API versions."""
