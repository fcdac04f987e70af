"""python scripts/report.py RUNS...: the same as genmodels report RUNS..."""

from genmodels.cli import main

if __name__ == "__main__":
    main("report")
