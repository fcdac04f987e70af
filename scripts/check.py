"""python scripts/check.py: the same as genmodels check"""

from genmodels.cli import main

if __name__ == "__main__":
    main("check")
