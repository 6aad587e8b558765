"""Tasks: the only code that knows all rooms; each module reads as the story of its task."""
