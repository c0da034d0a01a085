"""Faces to people: density (clusters), assembly (clusters to people), identity (names)."""
