"""The ledger of reproduced papers: which published numbers our trainings reproduce, by result files alone.

An experiment with a baseline is trained (`work`), its run becomes a result file (`collect`, `results`), and the page is
a pure function of experiment files and result files (`comparisons`, `book`).
"""
