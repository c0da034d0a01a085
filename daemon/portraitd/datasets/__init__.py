"""Training sets: the same truth in the formats that trainers read, below ``dataset/``."""
