"""`python -m densewatch` is the command `densewatch`."""

from densewatch.cli.main import main

if __name__ == "__main__":
    main()
