"""The values that all packages share: media files, faces, tracks, people, edits and errors."""
