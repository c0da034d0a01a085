"""portraitd: drop videos into a folder, find one folder of portraits per person."""

__version__ = "0.1.0"
