"""Health: whether the angles of each side can be trusted, and what to do if not."""
