"""Model files: where they are, how they are fetched, converted and checked."""
