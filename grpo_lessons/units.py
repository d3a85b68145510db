"""What stands behind a number, units and multipliers, and numbers in English words."""

import re
from fractions import Fraction
from functools import lru_cache

from grpo_lessons.typography import MONEY

# Dimension and size. Only what is here can contradict another unit; other words (apples) are read over.
_UNITS = {
    name: (dimension, Fraction(size))
    for dimension, sizes in {
        "length": {
            "nm nanometer nanometre": "1/1000000000",
            "mm millimeter millimetre": "1/1000",
            "dm decimeter decimetre": "1/10",
            "cm centimeter centimetre": "1/100",
            "m meter metre": 1,
            "km kilometer kilometre": 1000,
            "in inch inche": "0.0254",
            "ft foot feet": "0.3048",
            "yd yard": "0.9144",
            "mi mile": "1609.344",
        },
        "mass": {
            "mg milligram": "1/1000",
            "g gram": 1,
            "kg kilogram kilo": 1000,
            "ton tonne": 10**6,
            "lb pound": "453.59237",
            "oz ounce": "28.349523125",
        },
        "time": {
            "ms millisecond": "1/1000",
            "s sec second": 1,
            "min minute": 60,
            "h hr hour": 3600,
            "day": 86400,
            "week": 604800,
        },
        "months": {"month": 1, "year yr": 12},
        "force": {"N newton": 1},
        "energy": {"J joule": 1, "kJ": 1000},
        "power": {"W watt": 1, "kW": 1000},
        "tension": {"V volt": 1},
        "current": {"A amp ampere": 1, "mA": "1/1000"},
        "speed in miles an hour": {"mph": 1},
        "gallons": {"gallon gal": 1, "quart": "1/4", "pint": "1/8"},
        "volume": {"ml mL milliliter millilitre": "1/1000", "l L liter litre": 1},
        "dollar": {"¢ cent": "1/100", "¤ $ USD dollar": 1},
        "euro": {"€ EUR euro": 1},
        "pound": {"£ GBP": 1},
        "rupee": {"₹ Rs INR rupee": 1},
        "yen": {"¥ JPY yen": 1},
        "angle": {"\\degree degree": 1, "rad radian": "57.29577951308232"},
    }.items()
    for names, size in sizes.items()
    for name in names.split()
}
SHORT = "mm|cm|dm|km|nm|ml|mL|dl|kg|mg|ft|yd|mi|in|lb|lbs|oz|hr|hrs|min|sec|mph|kmh|kph|ms|Hz|kHz|Pa|kPa|kW|kWh|kJ|eV|MB|GB|KB|TB|rad|pm|am|st|nd|rd|th|m|s|g|l|L|h|N|J|W|V"
LONE = "m|s|g|l|L|h|N|J|W|V"
_NO_UNIT = "sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|mod|pi|and|or|to|not|plus|minus|times|over|with|than|but|if|is|are|was|the answer|squared|cubed|factorial|thousandths?|hundredths?|per mille|at (?:most|least)|half|dozen|hundred|thousand|million|billion|trillion"
_POWERED = r"(?:\s?\^\s?\{?-?[1-4]\}?)?"
# Atomic, and never before another letter: words that could be cut in two ways take exponential time.
_WORD = rf"(?!(?:{_NO_UNIT})\b)(?>(?:[^\W\d_]{{2,}}(?:['.-][^\W\d_]+)*+|(?:{SHORT})|[^\W\d_a-zA-Z])(?![^\W\d_]))\.?+"
PIECE = (
    rf"(?:\\text\s*\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}}{_POWERED}|\\frac\s*\{{\s*\\text\s*\{{[^{{}}]*\}}\s*\}}\s*\{{\s*\\text\s*\{{[^{{}}]*\}}{_POWERED}\s*\}}"
    rf"|%|\\degree\s*(?:[CFK]\b)?|[{MONEY}]|\((?:\s*{_WORD})+\s*\)|{_WORD}{_POWERED})"
)
_BETWEEN = r"\s*(?:/|\\cdot|\*|-|,(?=\s)|\band\b)?\s*"
UNIT = re.compile(rf"\s*(?:/\s*)?(?:{PIECE})(?:{_BETWEEN}(?:{PIECE}))*+\s*[.]?")
GLUED = re.compile(rf"(?:%|/|\\degree|\\text|\\frac|\(|[{MONEY}]|(?:{SHORT})(?![A-Za-z])|[^\x00-\x7f])")
MULTIPLIERS = {
    "dozen": 12,
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "lakh": 10**5,
    "crore": 10**7,
    "grand": 1000,
    "bn": 10**9,
    "million(?:en|es|s)": 10**6,
    "mill[oó]n(?:es)?": 10**6,
    "mio": 10**6,
    "milliarden?": 10**9,
    "milliards?": 10**9,
    "mrd": 10**9,
    "тысяч[аи]?": 1000,
    "миллион(?:а|ов)?": 10**6,
    "миллиард(?:а|ов)?": 10**9,
}
# Without a space behind the number, and nothing of a word's boundary.
SIGNS = {"百": 100, "千": 1000, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
PARTS_OF = re.compile(
    r"(.*[0-9])\s+(half|halves|thirds?|quarters?|fourths?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?)",
    re.IGNORECASE,
)
MULTIPLIED = re.compile(
    rf"(.*?[0-9}}])\s*(?:({'|'.join(MULTIPLIERS)})s?\b\.?|([{''.join(SIGNS)}]))\s*(.*)", re.IGNORECASE
)


def multiplier(word: str) -> int:
    """How many a word makes of a number: "million" a million."""
    return SIGNS.get(word) or next(
        n for name, n in MULTIPLIERS.items() if re.fullmatch(f"{name}s?", word, re.IGNORECASE)
    )


SHORTENED = re.compile(r"(.*[0-9])\s?(k|K|M|bn|B|T)")
SHORTENED_SIZE = {"k": 1000, "K": 1000, "M": 10**6, "bn": 10**9, "B": 10**9, "T": 10**12}

SMALL = {
    word: n
    for n, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen".split()
    )
} | {word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_PARTS = {word: n for n, word in enumerate("half third quarter fifth sixth seventh eighth ninth tenth".split(), 2)} | {
    "fourth": 4,
    "halve": 2,
}


def in_words(text: str) -> tuple[Fraction, str] | None:
    """The number at the head of a text in English words, and what stands behind it, or None.

    >>> in_words("seventy-two apples"), in_words("two thirds"), in_words("apples")
    ((Fraction(72, 1), 'apples'), (Fraction(2, 3), ''), None)
    """
    words = re.findall(r"[A-Za-z]+|\S", text.lower().replace("-", " "))
    total, group, used = 0, None, 0
    for at, word in enumerate(words):
        if word in SMALL and (
            group is None or group % 100 == 0 or (group % 10 == 0 and 0 < SMALL[word] < 10 and group % 100 > 19)
        ):
            group = (group or 0) + SMALL[word]
        elif word == "hundred" and group is not None and group < 10:
            group *= 100
        elif word in MULTIPLIERS and word not in ("dozen", "hundred") and group is not None:
            total, group = total + group * MULTIPLIERS[word], 0
        elif word == "and" and group is not None and at + 1 < len(words) and words[at + 1] in SMALL:
            continue
        else:
            break
        used = at + 1
    value = None if group is None else Fraction(total + group)
    rest = words[used:]
    if rest and (part := _PARTS.get(rest[0].removesuffix("s") if rest[0] != "halves" else "half")) and value != 0:
        if value is None and rest[0] != "half":
            return None
        value, rest = (value or 1) * Fraction(1, part), rest[1:]
        if rest:
            return None  # half of what?
    elif rest and rest[0] == "dozen" and value is not None:
        value, rest = value * 12, rest[1:]
    return None if value is None else (value, " ".join(rest))


@lru_cache(maxsize=1024)
def dimension(unit: str) -> tuple[tuple[tuple[str, int], ...], Fraction] | None:
    """The dimension of a unit with its powers, and its size in metres, grams, seconds …; None for words that are no measure.

    >>> dimension("km/h"), dimension("apples")
    (((('length', 1), ('time', -1)), Fraction(5, 18)), None)
    """
    if scale := re.fullmatch(r"\s*\\degree\s*(?:\\text\s*\{)?\s*([CF])\s*\}?\s*", unit):
        return (({"C": "celsius", "F": "fahrenheit"}[scale[1]], 1),), Fraction(1)
    text = re.sub(r"\\text|[{}()~.]", " ", re.sub(r"\\frac(.*?\})(\s*\{)", r"\1/\2", unit))
    powers: dict[str, int] = {}
    size, sign, square = Fraction(1), 1, 1
    for word, power in re.findall(r"([^\W\d_]+|\\degree|[/¢%" + MONEY + r"])\s?(?:\^\s?(-?[1-4]))?", text):
        if word in ("/", "per"):
            sign = -1
        elif word.lower() in ("square", "sq", "cubic"):
            square = 3 if word == "cubic" else 2
        else:
            known = _UNITS.get(word) or _UNITS.get(word.lower()) or _UNITS.get(word.lower().removesuffix("s"))
            if known is None:
                return None
            exponent = sign * square * int(power or 1)
            powers[known[0]] = powers.get(known[0], 0) + exponent
            size, square = size * known[1] ** exponent, 1
    return (tuple(sorted((name, n) for name, n in powers.items() if n)), size) if powers else None


def is_percent(unit: str) -> bool:
    """Whether a unit is the percent sign, or the word."""
    return re.fullmatch(r"\s*(?:\\text\s*\{)?\s*(?:%|percent|per cent|percentage points?)\s*\}?\s*", unit) is not None
