"""``python -m portraitd``."""

from portraitd.cli import main

if __name__ == "__main__":
    main()
