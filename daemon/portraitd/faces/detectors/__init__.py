"""Networks that find faces in a frame."""
