"""``portraitd`` and ``python -m portraitd``.

A worker process imports this module again, as its main module, and needs no command line.
"""


def main() -> None:
    """Run the command line."""
    from portraitd.cli import main as command_line

    command_line.main()


if __name__ == "__main__":
    main()
