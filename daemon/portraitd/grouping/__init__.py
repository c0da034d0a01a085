"""Faces to people: the numbers only, no store and no files."""
