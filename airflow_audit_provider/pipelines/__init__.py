"""Use cases, one module for each verb: pull, load, verify, coverage, seal, sweep, watch."""
