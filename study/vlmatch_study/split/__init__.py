"""The split of clip-art and emoji into shares that have no concept and no look-alike picture in common."""
