"""The split of clip-art and emoji into shares that have no concept and no similar picture in common."""
