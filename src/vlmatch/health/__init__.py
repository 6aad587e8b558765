"""Health: can the angles of each side be trusted, and if not, what to do about it."""
