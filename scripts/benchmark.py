"""python scripts/benchmark.py [WORK ...]: the same as genmodels benchmark [WORK ...]"""

from genmodels.cli import main

if __name__ == "__main__":
    main("benchmark")
