"""What the blocks of trainings showed: tables and answers, made from committed results alone."""
