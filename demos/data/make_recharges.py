#!/usr/bin/env python3
"""Makes recharges.csv, the input of the example `recharges`: always the same bytes.

5,000 top-ups of 600 accounts, some far busier than others, and one line whose amount no one can read: a letter O in
place of a zero.

    examples/data/make_recharges.py > examples/data/recharges.csv
"""

from random import Random

ACCOUNTS = 600
RECHARGES = 5000
POISONED = 2048  # the line after so many
CENTS = [500, 1000, 1500, 2000, 2500, 3000, 5000, 10000]

# Only `random()`, whose sequence is the same in every version of Python.
random = Random(20260611).random


def recharge(number, cents):
    account = int(ACCOUNTS * random() ** 2)
    return f"top-{number:05},acc-{account:04},{cents}"


def main():
    lines = [recharge(number, CENTS[int(random() * len(CENTS))]) for number in range(1, RECHARGES + 1)]
    lines.insert(POISONED, recharge(RECHARGES + 1, "15O0"))
    print("recharge,account,cents")
    print("\n".join(lines))


main()
