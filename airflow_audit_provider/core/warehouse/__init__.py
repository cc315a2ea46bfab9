"""Loading into a warehouse: what a warehouse offers, and which windows are loaded next."""
