"""Checks of what is committed: findings, manifest chains, parts, seals and coverage."""
