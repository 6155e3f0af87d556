"""All that makes a command start fast and sealed.

Each file says what it saves, as ``make bench-start`` shows it: the same verbs without it (milliseconds of
state / run / exec, of 13 / 28 / 27 with all).
"""
