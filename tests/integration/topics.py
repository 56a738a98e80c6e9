#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fails unless each test of a program belongs to exactly one of the filters by which it is run, and each part of a
filter finds something.

    topics.py PROGRAM FILTER...
"""
import collections
import subprocess
import sys


def tests(program, wanted):
    """The full names that a filter finds, as the program itself understands it."""
    listed = subprocess.run(
        [program, "--gtest_list_tests", f"--gtest_filter={wanted}"], capture_output=True, text=True, check=True
    ).stdout
    names = []
    suite = ""
    for line in listed.splitlines():
        word = line.split("#")[0].rstrip()
        if line.startswith("  "):
            names.append(suite + word.strip())
        elif word.endswith("."):
            suite = word
    return names


def main(program, filters):
    every = tests(program, "*")
    found = collections.Counter(name for wanted in filters for name in tests(program, wanted))
    mistakes = [f"{name}: {found[name] or 'no'} filters find it" for name in every if found[name] != 1]
    mistakes += [
        f"{part}: finds no test" for wanted in filters for part in wanted.split(":") if not tests(program, part)
    ]
    if not every:
        mistakes.append(f"{program} has no tests")
    for mistake in mistakes:
        print(mistake)
    return 1 if mistakes else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
