"""``python -m portraitd``."""

from portraitd.cli.main import main

if __name__ == "__main__":
    main()
