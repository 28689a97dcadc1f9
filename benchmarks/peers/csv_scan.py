"""Print the rows of FILE.csv whose first cell is KEY, by csv.reader alone."""

import csv
import sys

with open(sys.argv[1], newline="") as lines:
    for row in csv.reader(lines):
        if row[0] == sys.argv[2]:
            print(*row, sep="\t")
