"""Erase people and videos for good, and remember what must not come back."""
