"""python scripts/train.py overrides...: the same as genmodels train overrides..."""

from genmodels.cli import main

if __name__ == "__main__":
    main("train")
