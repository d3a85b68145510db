"""Answers compared by their kind: exactly where that is possible, formulas by their values."""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from grpo_lessons import formulas
from grpo_lessons.formulas import Unreadable, Value
from grpo_lessons.reading import OPPOSITES, SCALARS, TURNS, Answer, scaled
from grpo_lessons.units import dimension


def equal(right: Answer, given: Answer) -> bool:
    """Whether an answer is the right one, by kind."""
    if right.kind in SCALARS and given.kind in SCALARS:
        return _equal_scalars(right, given)
    kinds = {right.kind, given.kind}
    if kinds <= {"list", "set"}:
        return _equal_unordered(right, given)
    if kinds == {"list", "tuple"}:  # x = 3, y = 4 against (3, 4)
        named, pair = (right, given) if right.kind == "list" else (given, right)
        titles = [part.name for part in named.value]
        return all(titles) and len(set(titles)) == len(titles) and _equal_in_order(named.value, pair.value[1])
    if kinds <= {"tuple", "interval"}:
        one, other = right.value, given.value
        return one[0] == other[0] and one[2] == other[2] and _equal_in_order(one[1], other[1])
    if kinds <= {"equation", *SCALARS}:
        return _equal_equations(right, given)
    if kinds == {"choice", "expression"}:
        letter, tree = (right, given.value) if right.kind == "choice" else (given, right.value)
        return right.kind == "choice" and tree[0] == "name" and tree[1].upper() == letter.value
    if kinds == {"list", "union"}:  # x < 1 or x > 2
        return all(part.kind == "interval" for part in (*right.value, *given.value)) and _equal_unordered(right, given)
    if len(kinds) > 1:
        return False
    match right.kind:
        case "union":
            return _equal_unordered(right, given)
        case "matrix":
            return len(right.value) == len(given.value) and all(map(_equal_in_order, right.value, given.value))
        case "range":
            return _equal_in_order(right.value, given.value)
        case "ratio":
            return len(right.value) == len(given.value) and all(
                formulas.same(("*", a.value, d.value), ("*", b.value, c.value))
                for (a, b), (c, d) in zip(pairwise(right.value), pairwise(given.value), strict=True)
            )
        case "inequality":
            return right.value[1] == given.value[1] and (
                _equal_in_order(right.value[0], given.value[0])
                or (right.value[1] == ("\\ne",) and _equal_in_order(right.value[0], given.value[0][::-1]))
            )
        case "time":
            return _equal_times(right.value, given.value)
        case "date":
            if isinstance(right.value, str) or isinstance(given.value, str):
                return right.value == given.value
            years = {right.value[0], given.value[0]} - {None}
            return right.value[1:] == given.value[1:] and len(years) < 2
    return right.value == given.value


def _equal_times(one: tuple[int, int, str], other: tuple[int, int, str]) -> bool:
    """3:30 is 3:30 in either half of the day, and 15:30 is 3:30 pm."""
    (minutes, seconds, half), (others, more, part) = one, other
    hours = [{n % 720 + 720 * (said == "p")} if said else {n} for n, said in ((minutes, half), (others, part))]
    same_face = minutes % 720 == others % 720 and not (half and part)
    return seconds == more and (hours[0] == hours[1] or (same_face and max(minutes, others) < 780))


def _equal_in_order(one: Sequence[Answer], other: Sequence[Answer]) -> bool:
    return len(one) == len(other) and all(map(equal, one, other))


def _equal_unordered(right: Answer, given: Answer) -> bool:
    if len(right.value) != len(given.value) or len(right.value) > 60:
        return False
    left = list(given.value)
    names, others = ([_bare(part.name) for part in each.value] for each in (right, given))
    if all(names) and all(others) and len(set(names)) == len(names):  # a = 1, b = 2 is not a = 2, b = 1
        return sorted(names) == sorted(others) and all(
            equal(part, given.value[others.index(name)]) for part, name in zip(right.value, names, strict=True)
        )
    for part in right.value:
        match = next((other for other in left if equal(part, other)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _are_opposite(one: str, other: str) -> bool:
    words = set(TURNS.findall(one)), set(TURNS.findall(other))
    return any(
        (a in words[0] and b in words[1] - words[0]) or (b in words[0] and a in words[1] - words[0])
        for a, b in OPPOSITES
    )


def _equal_scalars(right: Answer, given: Answer) -> bool:
    if (
        right.name
        and given.name
        and _bare(right.name) != _bare(given.name)
        and min(len(right.name), len(given.name)) < 3
    ):
        return False
    expected, found = right.constant, given.constant
    if expected is None and found is None:
        if formulas.same(right.value, given.value):
            return (
                not (right.name and given.name)
                or _bare(right.name) == _bare(given.name)
                or len(right.name) > 1 < len(given.name)
            )
        return bool(right.name and given.name) and _equal_equations(right, given)
    if expected is None or found is None:
        return False
    if right.written and not given.written and isinstance(expected, Fraction):
        return False  # 12 + 45 + 38 is a question handed back, not the answer 95
    if _are_opposite(right.unit.lower(), given.unit.lower()):
        return False
    sizes = dimension(right.unit), dimension(given.unit)
    if right.unit and given.unit and None not in sizes:
        if sizes[0][0] != sizes[1][0]:
            return False
        if sizes[0][1] != sizes[1][1]:
            expected, found = scaled(expected, sizes[0][1]), scaled(found, sizes[1][1])
    percent = (right.kind == "percentage") != (given.kind == "percentage")
    return any(
        formulas.close(expected * by, found * over)
        or _rounded(expected * by, given, over)
        or _rounded(found * over, right, by)
        for by, over in ([(1, 1), (1, Fraction(1, 100)), (Fraction(1, 100), 1)] if percent else [(1, 1)])
        if (by == 1 or right.kind == "percentage") and (over == 1 or given.kind == "percentage")
    )


def _rounded(value: Value, decimal: Answer, by: Value = 1) -> bool:
    """Whether a decimal of twelve digits or more is the value, rounded or cut: 0.0833333333333333 is 1/12, 0.0833 is not."""
    tree = decimal.value[1] if decimal.value[0] == "neg" else decimal.value
    if tree[0] != "number" or tree[2] < 12 or tree[3] < 9 or decimal.constant is None:
        return False
    try:
        return abs(complex(value) - complex(decimal.constant * by)) <= 10.0 ** -tree[3]
    except OverflowError:
        return False


def _bare(name: str) -> str:
    return re.sub(r"\\text|[{}\s()]", "", name).casefold()


def _equal_equations(right: Answer, given: Answer) -> bool:
    trees = []
    for answer in (right, given):
        if answer.kind == "equation":
            trees.append(answer.value)
        elif answer.name and answer.constant is None:  # y = 2x + 3
            try:
                trees.append(("-", formulas.parse(answer.name), answer.value))
            except Unreadable:
                return False
        else:
            return False
    return formulas.proportional(*trees)
