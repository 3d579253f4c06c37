#!/usr/bin/env python3
"""Makes payments.csv, the input of the example `payments`: always the same bytes.

2,000 payments to 120 accounts, some far busier than others, and 200 requests that repeat an earlier one: half of
them soon after it, as a client does that got no answer, half of them at any time later.

    examples/data/make_payments.py > examples/data/payments.csv
"""

from random import Random

ACCOUNTS = 120
PAYMENTS = 2000
REPEATED = 200
SOON = 8  # requests

# Only `random()`, whose sequence is the same in every version of Python.
random = Random(20260117).random


def below(limit):
    return int(random() * limit)


def payment(number):
    account = int(ACCOUNTS * random() ** 2)
    cents = 100 + below(50_000)
    return f"pay-{number:04},acc-{account:03},{cents}"


def main():
    requests = [payment(number) for number in range(1, PAYMENTS + 1)]
    # No payment is repeated twice, and the last is not repeated.
    repeated = set()
    while len(repeated) < REPEATED:
        repeated.add(requests[below(PAYMENTS - 1)])
    for index, request in enumerate(sorted(repeated)):
        first = requests.index(request)
        limit = SOON if index % 2 == 0 else len(requests) - first
        requests.insert(min(first + 1 + below(limit), len(requests)), request)
    print("payment,account,cents")
    print("\n".join(requests))


main()
