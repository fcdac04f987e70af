"""python scripts/export.py overrides...: the same as genmodels export overrides..."""

from genmodels.cli import main

if __name__ == "__main__":
    main("export")
