"""python scripts/sample.py overrides...: the same as genmodels sample overrides..."""

from genmodels.cli import main

if __name__ == "__main__":
    main("sample")
