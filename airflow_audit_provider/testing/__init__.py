"""Fake Cloudflare Audit Logs API for tests, shipped so that your own DAG tests can use it.

Invariant: the fake reads records with its own code and shares none with the code that it tests.
"""
