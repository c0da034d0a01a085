"""Erasure of people and videos for good, and the tombstones that keep them out."""
