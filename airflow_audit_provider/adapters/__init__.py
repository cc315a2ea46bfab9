"""Adapters to the outside world.

The Cloudflare API, object stores, warehouses, signing keys, the clock, spill files.
"""
