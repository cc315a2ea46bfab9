"""New activity: when to poll, what is new since a position."""
