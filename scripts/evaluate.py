"""python scripts/evaluate.py overrides...: the same as genmodels evaluate overrides..."""

from genmodels.cli import main

if __name__ == "__main__":
    main("evaluate")
