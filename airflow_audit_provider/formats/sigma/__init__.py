"""Sigma rules over the normalized table."""
