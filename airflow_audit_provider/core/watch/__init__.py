"""New activity in an audit log: when to poll, what a poll reads, and which records are new."""
