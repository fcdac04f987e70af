"""python scripts/reproduce.py overrides...: the same as genmodels reproduce overrides..."""

from genmodels.cli import main

if __name__ == "__main__":
    main("reproduce")
