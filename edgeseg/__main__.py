"""`python -m edgeseg` is `edgeseg`."""

from edgeseg.cli import main

if __name__ == "__main__":
    main()
