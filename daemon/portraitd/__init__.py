"""portraitd: drop videos and photos into a folder; get one folder of portraits per person."""

__version__ = "0.2.0"
