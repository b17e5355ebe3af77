"""`python -m kvarts`: the same as the command `kvarts`."""

from kvarts.cli import main

if __name__ == "__main__":
    main()
