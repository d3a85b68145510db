"""An answer's text read into what it is: a number, percentage, mixed number, number with a unit, expression, list, set, tuple,
interval, equation, inequality, matrix, choice, time, date, ratio, range, number in a base, or word.

A text with two readings is never silently another number; a hedge ("71 or 72") or a denial ("isn't 72") is no answer.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from grpo_lessons import formulas
from grpo_lessons.formulas import Tree, Unreadable, Value
from grpo_lessons.text import boxed, closing
from grpo_lessons.typography import MONEY, plain
from grpo_lessons.units import (
    GLUED,
    LONE,
    MULTIPLIED,
    MULTIPLIERS,
    PARTS_OF,
    PIECE,
    SHORTENED,
    SHORTENED_SIZE,
    SMALL,
    UNIT,
    dimension,
    in_words,
    is_percent,
    multiplier,
)

MOST_CHARACTERS = 300  # of an answer; no honest one is longer


@dataclass(frozen=True)
class Answer:
    """What a text gives as its answer.

    Attributes:
        kind: the reading in a word, such as "number" or "interval".
        value: by kind: a formula's tree, the parts of a list, a letter, minutes, the word itself.
        unit: of a number, as it is written; "" if there is none.
        name: of what it is the value, such as x in `x = 5`; "" if it does not say.
    """

    kind: str
    value: object
    unit: str = ""
    name: str = ""

    @property
    def number(self) -> Fraction | None:
        """The value of an answer that is one rational number, written out; else None."""
        return self.constant if self.written and isinstance(self.constant, Fraction) else None

    @property
    def constant(self) -> Value | None:
        """The value of a scalar without variables; else None."""
        return formulas.constant(self.value) if self.kind in SCALARS else None

    @property
    def written(self) -> bool:
        """Whether it is a number that is written out, and no calculation."""
        return self.kind in SCALARS and self.kind != "expression"

    def __str__(self) -> str:
        """As a reader would write it."""
        name = f"{self.name} = " if self.name else ""
        if self.kind == "infinity":
            return "∞" if self.value > 0 else "-∞"
        if self.kind in SCALARS:
            return (
                f"{name}{formulas.written(self.value)}{'' if self.unit == '%' else ' ' if self.unit else ''}{self.unit}"
            )
        match self.kind:
            case "tuple" | "interval":
                return f"{self.value[0]}{', '.join(map(str, self.value[1]))}{self.value[2]}"
            case "list" | "union" | "ratio" | "range":
                between = {"list": " and ", "union": " ∪ ", "ratio": " : ", "range": " to "}[self.kind]
                return between.join(map(str, self.value))
            case "set":
                return f"{{{', '.join(map(str, self.value))}}}"
            case "matrix":
                return "; ".join(", ".join(map(str, row)) for row in self.value)
            case "time":
                minutes, seconds, half = self.value
                return f"{minutes // 60}:{minutes % 60:02}{f':{seconds:02}' if seconds else ''}{f' {half}m' if half else ''}"
            case "date" if not isinstance(self.value, str):
                return "-".join(f"{part:02}" for part in self.value if part)
            case "equation":
                return f"{formulas.written(self.value)} = 0"
            case "number in a base":
                return f"{self.value[0]} in base {self.value[1]}"
            case "inequality":
                signs = [{"<": "<", "\\le": "≤", "\\ne": "≠"}[sign] for sign in self.value[1]]
                return "".join(
                    f"{part} {sign} " for part, sign in zip(self.value[0], [*signs, ""], strict=True)
                ).strip()
        return str(self.value)


SCALARS = ("number", "percentage", "mixed number", "number with a unit", "expression")

# --- words around an answer ---

DENIES = re.compile(
    r"\b(?:not|never|neither|nor|wrong|incorrect|false|impossible|isnt|wasnt|cannot|except)\b|n't\b|不是|不等于|错",
    re.IGNORECASE,
)
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore|then|and|in total|altogether|finally)\b[,:]?\s*)*"
    r"(?:(?:(?:the|my|our|your)\s+)?(?:(?:final|correct|right|best|total)\s+)*"
    r"(?:answer|ans|result|solution|option|choice|total|value|sum)s?\s*(?:is|are|was|equals|would be|must be|:|=)+\s*:?"
    r"|(?:it|this|that|there|he|she|they|we|which|i)(?:'s|'re|\s+(?:is|are|has|have|had|get|got|gets|makes|needs|were|was))\b"
    r"|(?:所以|因此|故)?(?:最终|最后)?(?:的)?(?:答案|结果)(?:是|为|:)*)\s*",
    re.IGNORECASE,
)
_ABOUT = re.compile(r"(?:\\approx|~|about|approximately|approx\.?|roughly|around|exactly|=|:)\s*", re.IGNORECASE)
_WRAPPED = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\$\$([^$]+)\$\$",
        r"\$([^$]+)\$",
        r"\\\(((?:(?!\\\().)+)\\\)",
        r"\\\[((?:(?!\\\[).)+)\\\]",
        r"`([^`]+)`",
        r"[\"']([^\"']+)[\"']",
        r"\*([^*]+)\*",
        r"_([^_]+)_",
    )
]

# --- reading ---

NUMERAL = "(?:" + re.sub(r"\?P<\w+>", "?:", formulas.NUMERAL.pattern) + ")"


@lru_cache(maxsize=8192)
def read(text: str, right: bool = False) -> tuple[Answer, ...]:
    r"""The readings of an answer's text, the likeliest first; () if it has none.

    Args:
        text: the answer alone, as `final_answer` finds it.
        right: whether it is the one that is right: of two readings only the first is taken then (`3,5` is a list).

    >>> [answer.kind for answer in read("3,5")], read("about 72 km/h")[0].number, read("not 72")
    (['list', 'number'], Fraction(72, 1), ())
    """
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return ()
    spelled = plain(text)
    bare = unwrapped(spelled) if len(spelled) <= 2 * MOST_CHARACTERS else ""
    if not bare or len(bare) > MOST_CHARACTERS:
        return ()
    try:
        found = _Reading(bare, right).all()
    except RecursionError:
        return ()
    return found[:1] if right else found


_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
_MODULO = re.compile(r"\s*(?:\\pmod\s*(?:\{\s*[0-9]+\s*\}|[0-9]+)|\((?:\\?mod|\\bmod)\s*[0-9]+\))$")


def without_text(text: str) -> str:
    """The text with what stands in `\\text{…}` as plain words."""
    return _TEXT.sub(r"\1", text)


def unwrapped(text: str) -> str:
    """The text without what stands around it: boxes, dollar signs, quotes, "The answer is", a full stop."""
    for _ in range(8):
        before = text
        text = text.strip().rstrip(";:,?").rstrip()
        text = re.sub(r"(?<=[^.])\.$", "", text)
        if box := boxed(text):
            text = box
        for wrapped in _WRAPPED:
            if found := wrapped.fullmatch(text):
                text = found[1]
        if (bare := _MODULO.sub("", text).strip()) != text and bare:
            text = bare.replace("\\equiv", "=")
        if found := _TEXT.fullmatch(text):
            text = found[1]
        if (
            (found := _TEXT.match(text))
            and (behind := text[found.end() :].lstrip())
            and re.search("[a-z]{2}", found[1])
        ):
            text = f"{found[1]} {behind}"
        if text.startswith("{") and closing(text, 0) == len(text) - 1:
            text = text[1:-1]
        if found := _LEAD.match(text):
            text = text[found.end() :] or text
        if (found := _ABOUT.match(text)) and found.end() < len(text):
            text = text[found.end() :]
        if text == before:
            break
    return text


MATHS = re.compile(r"\$\$([^$]+)\$\$|\$(?=\S)([^$]*[^$\s])\$(?![0-9])|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
JOIN = re.compile(r"\s*(?:,?\s*\b(?:and|or)\b|,|;|\\text\s*\{\s*,?\s*(?:and|or)\s*\})\s*")
_JOIN_APART = re.compile(JOIN.pattern.replace("|,|", r"|,(?=\s)|"))
_RELATION = re.compile(r"(\\approx|\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])|<=|>=|!=|:=|=|<|>)")
_WORDS_OF_UNITS = re.compile(r"(?<![\\A-Za-z])(?!sin|cos|tan|log|exp|sqrt)[A-Za-z]{3,}|[¤$€£]")
_MULTIPLIER_IN_TEXT = re.compile(rf"\\text\s*\{{\s*((?:{'|'.join(MULTIPLIERS)})s?\b[^{{}}]*)\}}", re.IGNORECASE)
_TURNED = {"<": "<", "\\le": "\\le", "<=": "\\le", ">": "<", "\\ge": "\\le", ">=": "\\le"}
_NAME = re.compile(
    r"\s*(?:\\?[A-Za-z]+(?:_\{?\w+\}?)?'?|\\text\s*\{[^{}]*\}(?:_\{?\w+\}?)?|[A-Za-z](?:\^\{?-1\}?)?\s*\(\s*-?[a-z0-9.]+(?:,\s*-?[a-z0-9.]+)*\s*\)"
    r"|\(\s*[a-z](?:_\w)?(?:\s*,\s*[a-z](?:_\w)?)+\s*\)|[A-Za-z][\w .']*|\\angle[\w\s{}]+|[A-Za-z](?:_\{[^{}]*\})|\|\s*[A-Z]{2}\s*\||\\(?:overline|overrightarrow|vec)\s*\{\s*[A-Za-z]+\s*\})\s*"
)
MONTHS = "january february march april may june july august september october november december".split()
_MONTH = "(?P<month>" + "|".join(f"{month}|{month[:3]}" for month in MONTHS) + r")\.?"
_DATES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>[0-9]{4})-(?P<number>[0-9]{1,2})-(?P<day>[0-9]{1,2})",
        rf"(?:the\s+)?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?(?:\s+of)?\s+{_MONTH}(?:,?\s+(?P<year>[0-9]{{4}}))?",
        rf"{_MONTH}\s+(?:the\s+)?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(?P<year>[0-9]{{4}}))?",
    )
]
_SLASHED = re.compile(r"[0-9]{1,2}/[0-9]{1,2}/(?:[0-9]{4}|[0-9]{2})")
_TIME = re.compile(
    r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?\s*(?:\(?([ap])\.?\s?m\.?\)?)?|([0-9]{1,2})\s*([ap])\.?\s?m\.?",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"(?:(?:[Oo]ption|[Cc]hoice|[Aa]nswer)\s+)?(?:\(([A-J])\)|([A-J])(?=[).:]|$)[).:]?)(?:\s+(.+))?")
_BASE = re.compile(
    r"([0-9A-Fa-f]+)\s?_\s?(?:\{?\s*(?:\\text\s*\{)?\s*([0-9]{1,2}|two|three|four|five|six|seven|eight|nine|ten|twelve|sixteen)\s*\}*|\{?\(([0-9]{1,2})\)\}?)"
)
_RANGE = re.compile(
    r"(?:from\s+)?([0-9]+(?:[.,][0-9]+)*)\s?(?:--?|to)\s?([0-9]+(?:[.,][0-9]+)*)(?:\s.*)?"
    r"|between\s+([0-9]+(?:[.,][0-9]+)*)\s+and\s+([0-9]+(?:[.,][0-9]+)*)(?:\s.*)?"
)
_COMMA, _COMMA_APART = re.compile("([,;])"), re.compile(r"([,;](?=\s))")
_UNION, _SUCH_THAT = re.compile(r"(\\cup)(?![a-z])"), re.compile(r"(\||:)")


def _comma_of(text: str) -> re.Pattern:
    """Where brackets are cut: (1,000, 2,000) at the commas with a space behind them."""
    grouped = (
        re.search(r"[0-9],[0-9]{3}(?![0-9])", text)
        and re.search(r",\s", text)
        and not re.search(r",[0-9]{1,2}(?![0-9])", text)
    )
    return _COMMA_APART if grouped else _COMMA


_SIZE = r"[0-9][0-9,]*(?:\.[0-9]+)?"
_AMOUNT = re.compile(rf"({_SIZE})\s*([A-Za-z]+)")
_COMPOUND = re.compile(rf"{_SIZE}\s*[A-Za-z]+(?:[\s,]*(?:and\s+)?{_SIZE}\s*[A-Za-z]+)+\.?")
_WORDS_FOR = {
    "no solution": "no solution",
    "no solutions": "no solution",
    "there is no solution": "no solution",
    "\\emptyset": "no solution",
    "empty set": "no solution",
    "none": "none",
    "infinitely many": "infinitely many",
    "infinitely many solutions": "infinitely many",
    "infinite number of solutions": "infinitely many",
    "true": "true",
    "false": "false",
    "does not exist": "does not exist",
    "dne": "does not exist",
    "undefined": "undefined",
}


OPPOSITES = [
    pair.split("/")
    for pair in "increase/decrease profit/loss gain/loss east/west north/south younger/older earlier/later clockwise/counterclockwise up/down left/right"
    " faster/slower".split()
]
TURNS = re.compile(r"\b(?:" + "|".join(word for pair in OPPOSITES for word in pair) + r")\b")


class _Reading:
    def __init__(self, text: str, right: bool, depth: int = 0):
        self.text, self.right, self.depth = text, right, depth

    def all(self) -> tuple[Answer, ...]:
        text = self._without_dollars(self.text)
        if not text or not text.strip():
            return ()
        text = text.strip()
        if word := _WORDS_FOR.get(text.lower().strip("{}. ")):
            return (Answer("word", word),)
        if text.lower() in ("infinity", "positive infinity"):
            return (Answer("infinity", 1),)
        if text.lower() in ("all real numbers", "all reals", "\\mathbb{r}", "\\mathbb r"):
            return self._of("(-\\infty,\\infty)")
        if found := re.match(r"(yes|no|true|false)\s*[,.;!]", text, re.IGNORECASE):
            return (Answer("word", found[1].lower()),)
        if DENIES.search(text) and not self.right:
            return ()
        found = self._special(text)
        for reading in (self._relation, self._collection, self._scalar, self._sentence, self._word):
            if found and not (found[0].kind == "choice" and len(found) == 1 and found[0].unit):
                break
            got = reading(text)
            if got is None:  # it is of this kind, and has no value
                return tuple(found)
            found = [*found, *got]
        return tuple(found)

    def _of(self, text: str) -> tuple[Answer, ...]:
        """The readings of a part."""
        text = unwrapped(text.strip())
        if not text or self.depth > 4:
            return ()
        return _Reading(text, self.right, self.depth + 1).all()

    def _part(self, text: str) -> Answer | None:
        found = self._of(text)
        return found[0] if found and found[0].kind != "word" else None

    def _without_dollars(self, text: str) -> str | None:
        """Formulas in dollar signs: one with words around it, or several in a list."""
        found = list(MATHS.finditer(text))
        if not found:
            return text
        contents = [next(filter(None, each.groups())).strip() for each in found]
        between = [text[first.end() : second.start()] for first, second in pairwise(found)]
        before, after = text[: found[0].start()].strip(), text[found[-1].end() :].strip()
        if DENIES.search(before) or DENIES.search(after):
            return None
        if len(found) > 1:
            if before or after or not all(JOIN.fullmatch(each) for each in between):
                return text
            return " and ".join(contents) if any("," in each for each in contents) else ", ".join(contents)
        if re.search("[0-9]", before + after) or (before and not re.search(r"[^\W\d_]$|[:=,]$", before)):
            return text
        return f"{contents[0]} \\text{{{after}}}" if re.fullmatch(r"[^\W\d_][^\\{}]*", after) else contents[0]

    # -- what has a form of its own --

    def _special(self, text: str) -> list[Answer]:
        text = without_text(text)
        if found := _CHOICE.fullmatch(text):
            rest = found[3]
            choice = Answer("choice", found[1] or found[2], unit=rest or "")
            return [choice, *(self._of(rest) if rest and not self.right else ())]
        for form in _DATES:
            if found := form.fullmatch(text):
                given = found.groupdict()
                month = (
                    int(given["number"])
                    if given.get("number")
                    else [m[:3] for m in MONTHS].index(given["month"][:3].lower()) + 1
                )
                return [Answer("date", (int(given["year"]) if given["year"] else None, month, int(given["day"])))]
        if _SLASHED.fullmatch(text):
            return [Answer("date", text)]
        if (found := _TIME.fullmatch(text)) and int(found[1] or found[5]) < 25 and int(found[2] or 0) < 60:
            half = (found[4] or found[6] or "").lower()
            time = Answer("time", (int(found[1] or found[5]) * 60 + int(found[2] or 0), int(found[3] or 0), half))
            return [time]
        if self.right and re.fullmatch(r"\(([a-e])\)", text):
            return [Answer("choice", text[1].upper())]
        if self.right and re.fullmatch(r"[0-9]+(?:-[0-9]+)+", text) and not _RANGE.fullmatch(text):
            return [Answer("word", text)]
        if (found := _BASE.fullmatch(text)) and any(char.isdigit() for char in found[1]):
            base = found[2] or found[3]
            return [Answer("number in a base", (found[1].lower().lstrip("0"), str(SMALL.get(base, base))))]
        if text.count(":") >= 1 and re.fullmatch(r"[^:]+(?::[^:=<>]+)+", text) and "{" not in text[:2]:
            parts = [self._part(part) for part in text.split(":")]
            if all(part and part.kind in SCALARS for part in parts):
                return [Answer("ratio", tuple(parts))]
            if all(part and part.kind == "interval" for part in parts) and len({part.value for part in parts}) == 1:
                return [parts[0]]  # the inequality, and the interval once more
            return []
        if found := _RANGE.fullmatch(text):
            ends = [self._part(end) for end in found.groups() if end]
            rises = all(ends) and None not in (ends[0].number, ends[1].number) and ends[0].number < ends[1].number
            if rises:  # 100-72 is none
                return [Answer("range", tuple(ends))]
        return []

    # -- x = 5, x >= 3, x in [0, 1] --

    def _relation(self, text: str) -> list[Answer] | None:
        cut = _split(text, _RELATION)
        parts, signs = cut[::2], cut[1::2]
        if not signs or not all(part.strip() for part in parts[1:]) or len(_split(text, JOIN)) > 1:
            return []
        if not parts[0].strip():
            return [] if len(signs) > 1 or signs[0] not in ("=", "\\approx") else list(self._of(parts[1]))
        if set(signs) <= {"=", ":=", "\\approx"}:
            return self._equation(parts, signs)
        if signs == ["\\in"]:
            return (
                [replace(answer, name=parts[0].strip()) for answer in self._of(parts[1])]
                if _NAME.fullmatch(parts[0])
                else None
            )
        return self._inequality(parts, signs)

    def _equation(self, parts: list[str], signs: list[str]) -> list[Answer] | None:
        name = ""
        if _NAME.fullmatch(parts[0]) and not self._number(parts[0]):
            name, parts, signs = re.sub(r"\s", "", parts[0]), parts[1:], signs[1:]
            while len(parts) > 1 and re.fullmatch(r"\s*[A-Za-z](?:_\{?\w+\}?)?\s*", parts[0]):  # x = y = 2
                name, parts, signs = f"{name}={parts[0].strip()}", parts[1:], signs[1:]
        elif len(parts) == 2 and _NAME.fullmatch(parts[1]) and self._number(parts[0]):
            name, parts, signs = parts[1].strip(), parts[:1], []
        read = [self._of(part) or self._of(_WORDS_OF_UNITS.sub("", part)) for part in parts]
        if (
            all(read) and any(answer[0].kind == "word" for answer in read) and not name
        ):  # 48 clips + 24 clips = 72 clips
            read = [
                self._of(_WORDS_OF_UNITS.sub("", part)) if answer[0].kind == "word" else answer
                for part, answer in zip(parts, read, strict=True)
            ]
        if not all(read):
            return None
        if len(parts) == 1:
            return [replace(answer, name=name) for answer in read[0]]
        firsts = [each[0] for each in read]
        if not all(answer.kind in SCALARS for answer in firsts):
            return None
        if all(answer.constant is not None for answer in firsts):
            for (one, other), sign in zip(pairwise(firsts), signs, strict=True):
                if not formulas.close(*_amounts(one, other), 0.05 if sign == "\\approx" else 1e-12):
                    return None  # 71 = 72
            both = [firsts[-1], firsts[0]] if "\\approx" in signs else [firsts[-1]]
            return [replace(answer, name=name) for answer in dict.fromkeys(both)]
        if len(parts) > 2 and all(answer.constant is not None for answer in firsts[1:]):  # m + n = 4 + 3 = 7
            same = all(formulas.close(*_amounts(one, other)) for one, other in pairwise(firsts[1:]))
            return [firsts[-1]] if same else None
        if len(parts) > 2 or "\\approx" in signs:
            return None
        if name:
            return [replace(firsts[-1], name=name)] if formulas.same(firsts[0].value, firsts[-1].value) else None
        return [Answer("equation", ("-", firsts[0].value, firsts[1].value))]

    def _inequality(self, parts: list[str], signs: list[str]) -> list[Answer] | None:
        read = [self._part(part) for part in parts]
        if not all(read) or not all(answer.kind in SCALARS or answer.kind == "infinity" for answer in read):
            return None
        if signs == ["\\ne"] or signs == ["!="]:
            return [Answer("inequality", (tuple(read), ("\\ne",)))]
        if not set(signs) <= set(_TURNED) or len({sign in (">", ">=", "\\ge") for sign in signs}) > 1:
            return None
        order = [_TURNED[sign] for sign in signs]
        if signs[0] in (">", ">=", "\\ge"):
            read, order = read[::-1], order[::-1]
        low, high = Answer("infinity", -1), Answer("infinity", 1)
        bare = [answer.value[0] == "name" if answer.kind in SCALARS else False for answer in read]
        if sum(bare) == 1 and all(
            answer.kind == "infinity" or answer.constant is not None
            for answer, is_name in zip(read, bare, strict=True)
            if not is_name
        ):
            at = bare.index(True)
            if len(read) == 3 and at == 1:
                ends = read[0], order[0], read[2], order[1]
            elif len(read) == 2:
                ends = (low, "<", read[1], order[0]) if at == 0 else (read[0], order[0], high, "<")
            else:
                return None
            opening, closing = "(" if ends[1] == "<" else "[", ")" if ends[3] == "<" else "]"
            return [Answer("interval", (opening, (ends[0], ends[2]), closing), name=read[at].value[1])]
        return [Answer("inequality", (tuple(read), tuple(order)))]

    # -- several values --

    def _collection(self, text: str) -> list[Answer] | None:
        if text.startswith("\\begin{"):
            return self._matrix(text)
        if len(parts := _split(text, _UNION)[::2]) > 1:
            read = [self._part(part) for part in parts]
            return [Answer("union", tuple(read))] if all(read) else None
        if text.startswith("\\{") and text.endswith("\\}"):
            return self._set(text[2:-2])
        if (
            text[0] in "(["
            and closing(text, 0) == len(text) - 1
            and len(parts := _split(text[1:-1], _comma_of(text))[::2]) > 1
        ):
            read = [self._part(part) for part in parts]
            if all(read):
                kind = (
                    "interval"
                    if len(read) == 2
                    and (text[0] == "[" or text[-1] == "]" or any(part.kind == "infinity" for part in read))
                    else "tuple"
                )
                return [Answer(kind, (text[0], tuple(read), text[-1]))]
            return None
        return self._list(text)

    def _compound(self, text: str) -> list[Answer]:
        """One amount in two units of a kind: 5 feet 3 inches, 1 hour and 30 minutes."""
        if not _COMPOUND.fullmatch(text):
            return []
        pieces = _AMOUNT.findall(text)
        sizes = [dimension(unit) for _, unit in pieces]
        if None in sizes or len({size[0] for size in sizes}) > 1 or sorted(sizes, key=lambda size: -size[1]) != sizes:
            return []
        total = sum(Fraction(n.replace(",", "")) * size[1] for (n, _), size in zip(pieces, sizes, strict=True))
        return [Answer("number with a unit", ("number", total / sizes[0][1], 0, 0), unit=pieces[0][1])]

    def _list(self, text: str) -> list[Answer] | None:
        if compound := self._compound(without_text(text)):
            return compound
        if self._scalar(text) and not re.search(r",\s", text):
            return []  # a comma between thousands, "one hundred and five", "apples and pears"
        comma = re.fullmatch(r"(\W*)([0-9]+),([0-9]+)(\D*)", text)
        decimal = self._scalar("{}{}.{}{}".format(*comma.groups())) if comma else []
        if decimal and (comma[4].strip() or self.depth):
            return decimal
        apart = re.search(r"[0-9],[0-9]{3}(?![0-9])", text) and re.search(r",\s|\b(?:and|or)\b", text)  # 1,000, 2,000
        parts = _split(text, _JOIN_APART if apart else JOIN)
        if len(parts) > 1 and all(part.strip() for part in parts):
            read = [self._of(part) for part in parts]
            if all(read):
                values = [value for each in read for value in (each[0].value if each[0].kind == "list" else each[:1])]
                words = [value.kind == "word" for value in values]
                if all(words) or not any(words):
                    return [Answer("list", tuple(values)), *decimal]
            return decimal
        if ("\\pm" in text or "\\mp" in text) and text.count("\\pm") + text.count("\\mp") <= 3:
            read = [self._part(text.replace("\\pm", sign).replace("\\mp", other)) for sign, other in ("+-", "-+")]
            return [Answer("list", tuple(read))] if all(read) else None
        return []

    def _set(self, text: str) -> list[Answer] | None:
        parts = _split(text, _SUCH_THAT)
        if len(parts) == 3:
            read = self._of(parts[2])
            return [replace(read[0], name="")] if read and read[0].kind in ("interval", "union") else []
        if not text.strip():
            return [Answer("word", "no solution")]
        read = [answer for part in _split(text, _COMMA)[::2] for answer in self._of(part)[:1] or (None,)]
        if not all(read):
            return None
        values = [value for answer in read for value in (answer.value if answer.kind == "list" else (answer,))]
        return [Answer("set", tuple(values))]

    def _matrix(self, text: str) -> list[Answer]:
        found = re.fullmatch(r"\\begin\{([a-zA-Z]*matrix|array)\}(?:\{[clr|]*\})?(.*)\\end\{\1\}", text, re.DOTALL)
        if not found:
            return []
        rows = [[self._part(cell) for cell in row.split("&")] for row in re.split(r"\\\\", found[2]) if row.strip()]
        return [Answer("matrix", tuple(map(tuple, rows)))] if rows and all(map(all, rows)) else []

    # -- one value --

    def _number(self, text: str) -> bool:
        return any(answer.constant is not None for answer in self._scalar(text))

    def _scalar(self, text: str) -> list[Answer]:
        text = _MULTIPLIER_IN_TEXT.sub(r" \1 ", text).strip()
        if found := re.fullmatch(r"([-+]?)\s*\\infty", text):
            return [Answer("infinity", -1 if found[1] == "-" else 1)]
        sign = 1
        if found := re.match(r"(?:minus|negative)\s+(?=\S)", text, re.IGNORECASE):
            sign, text = -1, text[found.end() :]
        if words := in_words(text):
            value, rest = words
            if not rest or (UNIT.fullmatch(rest) and not re.search("[0-9]", rest)):
                return [Answer("number with a unit" if rest else "number", ("number", sign * value, 0, 0), unit=rest)]
        money = re.match(rf"([-+]?)\s*([{MONEY}]|(?:USD|EUR|GBP|INR|Rs\.?|US[$¤])(?=[\s0-9-]))\s*", text)
        unit = ""
        if money and money.end() < len(text):
            unit, text = money[2].removeprefix("US").rstrip(".") or "$", money[1] + text[money.end() :]
            unit = "$" if unit in ("D", "¤") else unit
            if unit == "€" and re.fullmatch(r"-?[0-9]{1,3}(?:\.[0-9]{3})+", text):
                text = text.replace(".", "")
            if found := SHORTENED.fullmatch(text):
                return self._times(found[1], SHORTENED_SIZE[found[2]] * sign, unit)
        if (found := PARTS_OF.fullmatch(text)) and (parts := in_words(f"one {found[2]}")):
            return self._times(found[1], parts[0] * sign, unit)
        if found := MULTIPLIED.fullmatch(text):
            rest = found[4].strip()
            return (
                self._times(found[1], multiplier(found[2] or found[3]) * sign, unit or rest)
                if not rest or UNIT.fullmatch(rest)
                else []
            )
        found = []
        for tree, behind in self._formulas(text):
            if behind and formulas.names(tree) and re.fullmatch("[A-Za-z]{1,3}", behind):
                continue  # pi r^2 h has no hours
            if behind.startswith("\\degree") and formulas.calls(tree):
                continue  # sin 30 degrees is no number of degrees
            if sign < 0:
                tree = ("neg", tree)
            if behind and behind not in "%" and not unit and self._ambiguous(text, behind):
                continue
            kind = (
                "expression" if not formulas.is_written_out(tree) else "percentage" if is_percent(behind)
                else "number with a unit" if unit or behind else "mixed number" if "mixed" in (tree[0], tree[1][0] if tree[0] == "neg" else "") else "number"
            )  # fmt: skip
            found.append(Answer(kind, tree, unit=unit or ("%" if is_percent(behind) else behind)))
            if self.right or not re.fullmatch(r"[A-Za-z]{1,3}(?:\^\{?[1-4]\}?)?", behind):
                break  # a few letters may be variables as well
        return found

    def _times(self, text: str, by: int, unit: str) -> list[Answer]:
        read = [answer for answer in self._scalar(text) if answer.number is not None and not answer.unit]
        return (
            [Answer("number with a unit" if unit else "number", ("number", read[0].number * by, 0, 0), unit=unit)]
            if read
            else []
        )

    def _ambiguous(self, text: str, unit: str) -> bool:
        """Six metres, or six times m? A lone letter is a unit in a reply's plain `6 m` or `6m`, in a right answer only apart."""
        if not self.right:
            return False
        lone = re.fullmatch(rf"(?:{LONE})", unit) is not None and not text.endswith(" " + unit)
        return lone or re.fullmatch(rf"(?:{LONE})(?:\s(?:{LONE}))+", unit) is not None

    def _formulas(self, text: str) -> Iterable[tuple[Tree, str]]:
        """The formula a text begins with, and the unit behind it; the longest unit first."""
        starts = (
            [found.start() for found in re.finditer(rf"(?<=[0-9)}}.!A-Za-z])(?=\s*(?:/\s*)?(?:{PIECE}))", text)]
            if len(text) < 120
            else []
        )
        for start in starts:
            unit = text[start:]
            if (
                UNIT.fullmatch(unit)
                and (unit[0] == " " or GLUED.match(unit))
                and re.search("[0-9]|\\\\pi|\\\\sqrt", text[:start])
            ):
                try:
                    yield formulas.parse(text[:start]), unit.strip()
                except Unreadable:
                    continue
        if re.fullmatch(r"[^\W\d_]{2,}", text) and not re.fullmatch("pi|e", text):
            return  # a word, no product of letters
        try:
            yield formulas.parse(text), ""
        except (Unreadable, RecursionError):
            return

    # -- words --

    _ONE_NUMBER = re.compile(
        rf"(?<![A-Za-z0-9_.^/\\{{])(?:(?<![)\]}}])-)?[{MONEY}]?-?{NUMERAL}(?:[eE][-+]?[0-9]{{1,3}})?(?:\s?/\s?[0-9]+)?(?:\s?%)?"
    )
    _AROUND = re.compile(rf"(?:[^\W\d_]|[\s,.:;'\"()…*`{MONEY}%°-])*")
    _CHANGES = re.compile(
        r"\b(?:minus|negative|half|dozen|hundred|thousand|million|billion|trillion|squared|cubed|or|between|to|plus|times|over|sqrt|pi"
        r"|least|most|below|above|exceeds?|divided|multipl(?:y|ied)|base|hardly|unlikely|anything but|(?:inverse|multiple|factor|reciprocal) of|(?:less|more|fewer|greater|other|smaller|larger|rather) than|instead|under|nearly|almost|twice|double|triple"
        r"|(?:third|quarter|square|cube|root|log|logarithm) of|mod|modulo|divisible|factorial|choose|out of)\b",
        re.IGNORECASE,
    )

    def _sentence(self, text: str) -> list[Answer]:
        """One number with words around it."""
        found = list(self._ONE_NUMBER.finditer(text))
        if len(found) != 1:
            return []
        before, after = text[: found[0].start()], text[found[0].end() :]
        if (
            not before
            or not self._AROUND.fullmatch(before)
            or not self._AROUND.fullmatch(after)
            or self._CHANGES.search(f"{before} {after}")
        ):
            return []
        if not re.search(r"[^\W\d_]{2}", before) or re.match("[A-Za-z]", after):
            return []
        turned = " ".join(TURNS.findall(f"{before} {after}".lower()))  # a loss of 5 is no profit of 5
        return [replace(answer, unit=answer.unit or turned) for answer in self._scalar(found[0][0]) if answer.written]

    def _word(self, text: str) -> list[Answer]:
        word = re.sub(r"\s+", " ", re.sub(r"[\"'`*]", "", without_text(text))).casefold().strip(" .,;:!")
        word = re.sub(r"^(?:an?|the)\s+", "", word)
        if re.search(r"\\|[0-9]", word):
            word = re.sub(r"[\s{}]", "", word)
        return [Answer("word", word)] if word and (self.right or len(word) <= 80) else []


def _split(text: str, at: re.Pattern) -> list[str]:
    """The text cut at the top level only: not in brackets, nor in \\text{…}. What a group of the pattern holds stays."""
    parts, depth, last, here = [], 0, 0, 0
    while here < len(text):
        char = text[here]
        if (
            depth == 0
            and (found := at.match(text, here))
            and found.end() > here
            and not (found[0][0].isalpha() and here and text[here - 1].isalnum())
        ):
            parts.append(text[last:here])
            parts.extend(found.groups())
            last = here = found.end()
            continue
        if char == "\\" and text[here + 1 : here + 2] in ("{", "}"):
            depth += 1 if text[here + 1] == "{" else -1
            here += 2
            continue
        depth += (char in "([{") - (char in ")]}")
        here += 1
    return [*parts, text[last:]]


def _amounts(one: Answer, other: Answer) -> tuple[Value, Value]:
    """The sizes of two numbers of a chain, to be compared: 3/4 = 75 %, 1 hour = 60 minutes."""
    sizes = [dimension(each.unit) if each.unit else None for each in (one, other)]
    if None not in sizes and sizes[0][0] == sizes[1][0]:
        return scaled(one.constant, sizes[0][1]), scaled(other.constant, sizes[1][1])
    first, second = (each.constant * (Fraction(1, 100) if each.kind == "percentage" else 1) for each in (one, other))
    return first, second


def scaled(value: Value, by: Fraction) -> Value:
    """A value in the smallest units of its kind."""
    return value * by if isinstance(value, Fraction) else value * float(by)
