"""Links on the pages of a task instance."""
