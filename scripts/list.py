"""python scripts/list.py: the same as genmodels list"""

from genmodels.cli import main

if __name__ == "__main__":
    main("list")
