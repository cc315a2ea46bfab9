"""Committed data of a destination: object keys, manifests, commits and checkpoints."""
