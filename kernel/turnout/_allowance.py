"""How one limit is divided among the processes that share it: the arithmetic alone (acceptance G11). Pure.

Each process holds some of the places and lets calls in up to that number by itself. The store sees to it that all of
them together hold no more than the limit; what each should ask for is said here, from what the others showed last.
"""

from collections.abc import Collection


def spare(peak: int) -> int:
    """Places that are held beyond the most that were needed of late, so that a call seldom waits for the store."""
    return 1 + peak // 4


def wanted(peak: int, limit: int) -> int:
    """Places that a process wants that needed `peak` at once of late; none when it needed none."""
    return min(limit, peak + spare(peak)) if peak else 0


def fair(limit: int, mine: int, others: Collection[int]) -> int:
    """The part of `mine` that leaves each of the others what it wants, or else as much as it leaves us.

    Rounded up, so that no place is left over: who asks for it first has it.
    """
    left, sharers = limit, sorted([mine, *others])
    for number, each in enumerate(sharers):
        parts = len(sharers) - number
        if each * parts > left:
            return min(mine, -(-left // parts))
        left -= each
    return mine


def asked(peak: int, limit: int, others: Collection[int]) -> int:
    """Places to ask the store for, when the others want so many. Nothing is spare where that leaves somebody short."""
    mine = wanted(peak, limit)
    if others and mine + sum(others) >= limit:
        mine = min(peak, limit)
    return fair(limit, mine, others)


def alone(limit: int, processes: int) -> int:
    """Places of one of so many processes while none hears of the others."""
    return -(-limit // processes)
