r"""Formulas as people and models write them, LaTeX or plain: read into a tree, and compared by their values.

Rational numbers stay exact (`Fraction`); what is not rational is a complex number of double precision. Two formulas with
variables are equal if they agree at several points, as polynomials that differ do not (Schwartz 1980, Zippel 1979; here
with real points). Nothing is simplified, so that no formula can take long: length, depth and size of numbers are bounded.

    >>> same(parse(r"\frac{x}{7} + \frac27"), parse("(x+2)/7")), same(parse("2^{99}"), parse("2^{98}"))
    (True, False)
"""

import cmath
import math
import re
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

MOST_CHARACTERS, MOST_DEPTH, MOST_BITS, MOST_NAMES = 300, 25, 4096, 12

Tree = tuple  # (operation, …): ("number", Fraction, digits, decimals), ("name", "x_{1}"), ("+", Tree, Tree), …
Value = Fraction | complex


class Unreadable(ValueError):
    """A text that is no formula, one with two readings, or one too large to be evaluated."""


# Thousands in groups of three (1,234 or 1 234 or 1'234), in India's groups of two (1,00,000), Europe's 1.234,56, or none.
NUMERAL = re.compile(
    r"(?P<grouped>[0-9]{1,3}(?:(?:,[0-9]{3})+|(?: [0-9]{3})+|(?:'[0-9]{3})+)(?![0-9])(?:\.[0-9]+)?"
    r"|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])(?:\.[0-9]+)?)"
    r"|(?P<european>[0-9]{1,3}(?:(?:\.[0-9]{3})+,[0-9]+|(?:\.[0-9]{3}){2,})(?![0-9.,]))"
    r"|(?P<plain>(?:[0-9]+(?:\.[0-9]+|\.(?=\s*(?:$|/|\\overline|\\dot)))?|\.[0-9]+))(?P<again>\\(?:overline|dot)\s*\{?[0-9]+\}?)?"
)
_POWER_OF_TEN = re.compile(r"[eE]([-+]?[0-9]{1,3})(?![0-9])")
_PROPER = re.compile(
    r" ?\\frac\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))\s*(?:\{\s*([0-9]+)\s*\}|([0-9]))| ([0-9]+)\s?/\s?([0-9]+)"
)
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    **{name: getattr(cmath, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp")},
    **{f"arc{name}": getattr(cmath, f"a{name}") for name in ("sin", "cos", "tan")},
    "cot": lambda x: 1 / cmath.tan(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "ln": cmath.log,
    "log": cmath.log10,  # without a base; `\log_b` has its own
}
_WORD = re.compile(r"(arc(?:sin|cos|tan)|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|abs|pi)(?![A-Za-z])")
_COMMAND = re.compile(r"\\([A-Za-z]+)\s*")
_RUN = re.compile("[A-Za-z]*")
_AT_A_NUMBER = re.compile(r"\s*\(\s*(-?[0-9]+)\s*\)")
_DRESS = re.compile(r"\{([^{}]{1,20})\}|([A-Za-z])")
_INDEX = re.compile(r"\s*_\s*(?:\{([^{}]*(?:\{[^{}]*\})?[^{}]*)\}|(\\[A-Za-z]+|\w))|'|\s*\^\s*\{?\s*\\prime\s*\}?")
_PLAIN_INDEX = re.compile(r"[ ~{}]|\\text")
_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon "
    "phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega hbar ell".split()
)
_DRESSED = frozenset("text overrightarrow vec hat bar tilde dot ddot mathbb mathcal".split())  # they name a variable
_NO_FACTOR = frozenset("times cdot div pm mp le ge ne in cup cap approx equiv to infty rfloor rceil degree".split())


@lru_cache(maxsize=4096)
def parse(text: str) -> Tree:
    r"""The tree of a formula.

    >>> parse("2x")
    ('*', ('number', Fraction(2, 1), 1, 0), ('name', 'x'))

    Raises: Unreadable, for a text that is no formula, has two readings (`4\frac{10}{3}`) or is longer than 300 characters.
    """
    if len(text) > MOST_CHARACTERS:
        raise Unreadable(f"{text[:40]!r}…: longer than {MOST_CHARACTERS} characters")
    reader = _Reader(text)
    tree = reader.sum()
    if not reader.ended():
        raise Unreadable(f"{text!r}: no formula from {text[reader.at :][:20]!r} on")
    return tree


class _Reader:
    """Recursive descent over the characters: LaTeX's `\frac12` is two digits, which no list of numerals would show."""

    def __init__(self, text: str):
        self.text, self.at, self.depth, self.bars = text, 0, 0, 0

    def next(self) -> str:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1
        return self.text[self.at : self.at + 1]

    def ended(self) -> bool:
        return not self.next()

    def took(self, *marks: str) -> str:
        self.next()
        for mark in marks:
            if self.text.startswith(mark, self.at) and not (
                mark[0] == "\\" and self.text[self.at + len(mark) : self.at + len(mark) + 1].isalpha()
            ):
                self.at += len(mark)
                return mark
        return ""

    def need(self, mark: str) -> None:
        if not self.took(mark):
            raise Unreadable(f"{self.text!r}: {mark!r} is missing")

    def sum(self) -> Tree:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise Unreadable(f"{self.text!r}: deeper than {MOST_DEPTH} brackets")
        tree = self.product()
        while mark := self.took("+", "-"):
            tree = (mark, tree, self.product())
        self.depth -= 1
        return tree

    def product(self) -> Tree:
        tree = self.signed()
        while True:
            if self.took("*", "\\times", "\\cdot"):
                tree = ("*", tree, self.signed())
            elif self.took("/", "\\div"):
                tree = ("/", tree, self.signed())
            elif self.begins_factor():
                tree = ("*", tree, self.power())
            else:
                return tree

    def begins_factor(self) -> bool:
        """Whether something is multiplied without a sign. Never a numeral: is `x2` x squared, or twice x?"""
        char = self.next()
        if char == "\\":
            command = _COMMAND.match(self.text, self.at)
            return bool(command) and command[1] not in _NO_FACTOR
        return char.isalpha() or char in ("(", "[", "{") or (char == "|" and not self.bars)

    def signed(self) -> Tree:
        sign = self.took("+", "-")
        if sign:
            self.depth += 1
            if self.depth > MOST_DEPTH:
                raise Unreadable(f"{self.text!r}: too many signs")
            tree = self.signed()
            self.depth -= 1
            return ("neg", tree) if sign == "-" else tree
        return self.power()

    def power(self) -> Tree:
        base = self.postfix(self.atom())
        return ("^", base, self.exponent()) if self.took("^") else base

    def postfix(self, tree: Tree) -> Tree:
        while True:
            if self.next() == "!" and self.text[self.at + 1 : self.at + 2] != "=":
                self.at += 1
                tree = ("!", tree)
            elif self.took("\\degree"):
                tree = ("*", tree, ("/", ("pi",), ("number", Fraction(180), 3, 0)))
            else:
                return tree

    def exponent(self) -> Tree:
        if self.next() in ("{", "("):
            return self.atom()
        sign = self.took("-", "+")
        tree = self.atom()
        if self.took("^"):
            raise Unreadable(f"{self.text!r}: a power of a power without braces")
        return ("neg", tree) if sign == "-" else tree

    def argument(self) -> Tree:
        """What a command takes: a group in braces, or the one sign that follows."""
        if (char := self.next()).isdigit():
            self.at += 1
            return ("number", Fraction(char), 1, 0)
        return self.atom()

    def atom(self) -> Tree:
        char = self.next()
        if char.isdigit() or char == ".":
            return self.numeral()
        for opening, closing in (("(", ")"), ("[", "]"), ("{", "}")):
            if self.took(opening):
                tree = self.sum()
                self.need(closing)
                return tree
        if self.took("|"):
            self.bars += 1
            tree = self.sum()
            self.need("|")
            self.bars -= 1
            return ("abs", tree)
        if char == "\\":
            return self.command()
        if word := _WORD.match(self.text, self.at):
            self.at = word.end()
            return self.function(word[1])
        if char.isascii() and char.isalpha():
            run = _RUN.match(self.text, self.at)[0]
            if len(run) > 4:
                raise Unreadable(f"{self.text!r}: {run!r} is a word")
            self.at += 1
            return self.name(char)
        raise Unreadable(f"{self.text!r}: {char!r} begins no formula")

    def numeral(self) -> Tree:
        found = NUMERAL.match(self.text, self.at)
        if not found:
            raise Unreadable(f"{self.text!r}: no number at {self.text[self.at :][:20]!r}")
        self.at = found.end()
        value, digits, decimals = _numeral(found)
        if power := _POWER_OF_TEN.match(self.text, self.at):
            self.at = power.end()
            value, decimals = value * Fraction(10) ** int(power[1]), decimals - int(power[1])
        elif found["plain"] and found["plain"].isdigit() and (proper := _PROPER.match(self.text, self.at)):
            top, bottom = (int(part) for part in proper.groups() if part)
            if not 0 < top < bottom:
                raise Unreadable(f"{self.text!r}: a mixed number has a proper fraction, {top}/{bottom} is none")
            self.at = proper.end()
            return ("mixed", value + Fraction(top, bottom))
        return ("number", value, digits, decimals)

    def command(self) -> Tree:
        found = _COMMAND.match(self.text, self.at)
        name = found[1] if found else ""
        self.at = found.end() if found else self.at
        if name == "frac":
            return ("/", self.argument(), self.argument())
        if name == "binom":
            return ("binom", self.argument(), self.argument())
        if name in ("lfloor", "lceil"):
            tree = self.sum()
            self.need({"lfloor": "\\rfloor", "lceil": "\\rceil"}[name])
            return ({"lfloor": "floor", "lceil": "ceil"}[name], tree)
        if name in ("sqrt", "pi") or name in _FUNCTIONS:
            return self.function(name)
        if name in _GREEK:
            return self.name("\\" + name)
        if name in _DRESSED and (dressed := _DRESS.match(self.text, self.at)):
            self.at = dressed.end()
            inside = (dressed[1] or dressed[2]).strip()
            if name == "text" and inside in _FUNCTIONS:
                return self.function(inside)
            if name == "text" and len(inside) > 1:
                raise Unreadable(f"{self.text!r}: {inside!r} is a word")
            return self.name(inside if name == "text" else f"\\{name}{{{inside}}}")
        raise Unreadable(f"{self.text!r}: {name!r} is no part of a formula that we know")

    def function(self, name: str) -> Tree:
        if name == "pi":
            return ("pi",)
        if name == "sqrt":
            degree = ("number", Fraction(2), 1, 0)
            if self.took("["):
                degree = self.sum()
                self.need("]")
            return ("root", self.atom(), degree)
        base = None
        if name == "log" and self.took("_"):
            base = self.argument()
        power = self.exponent() if self.took("^") else None
        if name == "abs" or self.next() in ("(", "{", "["):
            inside = self.atom()
        else:  # \sin 2x: what is multiplied without a sign, up to the next function
            inside = self.signed()
            while self.begins_factor() and not re.match(rf"\\?(?:{_WORD.pattern})", self.text[self.at :]):
                inside = ("*", inside, self.power())
        if name == "abs":
            return ("abs", inside)
        tree = ("call", name, inside) if base is None else ("/", ("call", "ln", inside), ("call", "ln", base))
        if power == ("neg", ("number", Fraction(1), 1, 0)):
            if name not in ("sin", "cos", "tan"):
                raise Unreadable(f"{self.text!r}: an inverse function, or one over it?")
            return ("call", f"arc{name}", inside)
        return tree if power is None else ("^", tree, power)

    def name(self, name: str) -> Tree:
        """A variable with its index and primes; e and i without them are the numbers."""
        plain = True
        while found := _INDEX.match(self.text, self.at):
            self.at, plain = found.end(), False
            index = _PLAIN_INDEX.sub("", found[1] or found[2] or "")
            name += f"_{{{index}}}" if index else "'"
        if name in "fghFGHPQ" and (value := _AT_A_NUMBER.match(self.text, self.at)):  # f(3) is no product
            self.at = value.end()
            return ("name", f"{name}({value[1]})")
        return {"e": ("e",), "i": ("i",)}.get(name, ("name", name)) if plain else ("name", name)


def _numeral(found: re.Match) -> tuple[Fraction, int, int]:
    """Value, digits that count, and decimals of a numeral."""
    if found["european"]:
        text = found["european"].replace(".", "").replace(",", ".")
    else:
        text = re.sub("[, ']", "", found["grouped"]) if found["grouped"] else found["plain"]
    whole, _, part = text.partition(".")
    if len(text) > 60:
        raise Unreadable("a number of more than sixty digits")
    value = Fraction(text if whole else "0" + text) if part else Fraction(whole or 0)
    if again := found["again"]:
        digits = "".join(char for char in again if char.isdigit())
        if "." not in text or len(digits) > 20:
            raise Unreadable("digits repeat behind a decimal point only")
        value += Fraction(int(digits), 10 ** len(part) * (10 ** len(digits) - 1))
    return value, len((whole + part).lstrip("0")), len(part)


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _small(value: Value) -> Value:
    """Exact as long as that is cheap."""
    return value if not isinstance(value, Fraction) or _bits(value) <= MOST_BITS else complex(value)


def _root(value: Value, degree: Value) -> Value:
    if isinstance(value, Fraction) and isinstance(degree, Fraction) and degree.denominator == 1 and 1 < degree <= 64:
        n, size = int(degree), abs(value)
        if value >= 0 or n % 2:
            exact = [_whole_root(part, n) for part in (size.numerator, size.denominator)]
            if None not in exact:
                return Fraction(*exact) * (1 if value >= 0 else -1)
            return complex(float(size) ** (1 / n) * (1 if value >= 0 else -1))
    return complex(value) ** (1 / complex(degree))


def _whole_root(n: int, degree: int) -> int | None:
    if n < 2:
        return n
    near = math.isqrt(n) if degree == 2 else round(n ** (1 / degree)) if n.bit_length() < 1000 else 0
    return next((each for each in (near - 1, near, near + 1) if each > 0 and each**degree == n), None)


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, Fraction) and isinstance(base, Fraction):
        if exponent.denominator == 1:
            if base == 0 and exponent < 0:
                raise ZeroDivisionError
            if abs(exponent) * _bits(base) <= MOST_BITS:
                return base ** int(exponent)
        elif base >= 0 and exponent.denominator <= 12:
            return _power(_root(base, Fraction(exponent.denominator)), Fraction(exponent.numerator))
    return complex(base) ** complex(exponent)


def _factorial(value: Value) -> Value:
    if isinstance(value, Fraction) and value.denominator == 1:
        if not 0 <= value <= 400:
            raise Unreadable("a factorial of more than 400")
        return Fraction(math.factorial(int(value)))
    return complex(math.gamma(complex(value).real + 1))


def _binomial(n: Value, k: Value) -> Value:
    if all(isinstance(each, Fraction) and each.denominator == 1 for each in (n, k)):
        if not 0 <= k <= n <= 1000:
            raise Unreadable("a binomial coefficient outside 0 ≤ k ≤ n ≤ 1000")
        return Fraction(math.comb(int(n), int(k)))
    return _factorial(n) / (_factorial(k) * _factorial(n - k))


def evaluate(tree: Tree, at: dict[str, float]) -> Value:
    """The value of a tree, its variables taken from `at`: a Fraction where it is exact, else a complex number.

    >>> evaluate(parse("2^{10} - x"), {"x": 24.0}), evaluate(parse("3/4 + 1/4"), {})
    ((1000+0j), Fraction(1, 1))

    Raises: ArithmeticError or ValueError where there is no value, Unreadable where it is too large, KeyError without `at`.
    """
    match tree:
        case ("number", value, *_) | ("mixed", value):
            return value
        case ("name", name):
            return complex(at[name])
        case ("pi",):
            return complex(math.pi)
        case ("e",):
            return complex(math.e)
        case ("i",):
            return 1j
        case ("call", name, inside):
            return _FUNCTIONS[name](complex(evaluate(inside, at)))
    first = evaluate(tree[1], at)
    match tree[0]:
        case "neg":
            return -first
        case "abs":
            return abs(first) if isinstance(first, Fraction) else complex(abs(first))
        case "!":
            return _factorial(first)
        case "floor" | "ceil" as way:
            real = first if isinstance(first, Fraction) else first.real
            return Fraction(math.floor(real) if way == "floor" else math.ceil(real))
    second = evaluate(tree[2], at)
    match tree[0]:
        case "+":
            return _small(first + second)
        case "-":
            return _small(first - second)
        case "*":
            return _small(first * second)
        case "/":
            return _small(first / second)
        case "^":
            return _power(first, second)
        case "root":
            return _root(first, second)
        case "binom":
            return _binomial(first, second)
    raise Unreadable(f"{tree[0]!r}: no operation")


@lru_cache(maxsize=4096)
def constant(tree: Tree) -> Value | None:
    """The value of a formula without variables, or None."""
    try:
        value = None if names(tree) else evaluate(tree, {})
    except (ArithmeticError, ValueError, RecursionError):
        return None
    return value if isinstance(value, Fraction) or value is None or cmath.isfinite(value) else None


def calls(tree: Tree) -> bool:
    """Whether a formula has a function in it, such as a sine."""
    return tree[0] == "call" or any(calls(part) for part in tree[1:] if isinstance(part, tuple))


def names(tree: Tree) -> frozenset[str]:
    """The variables of a formula.

    >>> sorted(names(parse("a e^{-t} + i")))
    ['a', 't']
    """
    if tree[0] == "name":
        return frozenset((tree[1],))
    return frozenset().union(*(names(part) for part in tree[1:] if isinstance(part, tuple)))


def is_written_out(tree: Tree) -> bool:
    r"""Whether a formula is a number as an answer gives it, not a calculation that is left to do.

    Decimals, fractions, mixed numbers, 1.5·10^3, powers, factorials and binomial coefficients are; sums, products and
    roots are not: `12 + 45` hands the question back.

    >>> [is_written_out(parse(each)) for each in ("-144/2", r"1.5 \times 10^3", "2^{10}", "36 * 2", "12+45")]
    [True, True, True, False, False]
    """

    def number(tree: Tree) -> bool:
        return tree[0] == "number" or (tree[0] == "neg" and tree[1][0] == "number")

    match tree:
        case ("number" | "mixed", *_):
            return True
        case ("neg", inside):
            return is_written_out(inside)
        case ("/" | "^" | "binom", first, second):
            return number(first) and number(second)
        case ("!", inside):
            return number(inside)
        case ("*", first, ("^", ("number", ten, *_), second)):
            return number(first) and ten == 10 and number(second)
    return False


def close(first: Value, second: Value, within: float = 1e-12) -> bool:
    """Whether two values are the same number: exactly for two fractions, else to twelve digits."""
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first == second
    try:
        one, other = complex(first), complex(second)
    except OverflowError:
        return False
    return abs(one - other) <= within * max(abs(one), abs(other)) or (abs(one - other) < 1e-15 and 0 in (first, second))


@lru_cache(maxsize=4096)
def _values(tree: Tree, variables: tuple[str, ...]) -> tuple[complex | None, ...]:
    """The formula at six points, None where it has no value. A name has the same values in every formula."""
    found = []
    for point in range(6):
        at = {name: 0.4 + crc32(f"{name}{point}".encode()) % 99_991 / 45_000 for name in variables}
        if point > 3:  # |x| is x, where x is positive
            at = {name: -value for name, value in at.items()}
        try:
            value = complex(evaluate(tree, at))
            found.append(value if cmath.isfinite(value) else None)
        except (ArithmeticError, ValueError, RecursionError):
            found.append(None)
    return tuple(found)


def _both(first: Tree, second: Tree) -> list[tuple[complex, complex]]:
    variables = tuple(sorted(names(first) | names(second)))
    if len(variables) > MOST_NAMES:
        return []
    pairs = list(zip(_values(first, variables), _values(second, variables), strict=True))
    if not _has_modulus(first) and not _has_modulus(second):
        pairs = pairs[:4]  # roots of negative numbers have several values; nobody means the others
    pairs = [(one, other) for one, other in pairs if one is not None and other is not None]
    return pairs if len(pairs) > 2 and any(abs(one) > 1e-12 for one, _ in pairs) else []


def _has_modulus(tree: Tree) -> bool:
    return tree[0] == "abs" or any(_has_modulus(part) for part in tree[1:] if isinstance(part, tuple))


def same(first: Tree, second: Tree) -> bool:
    r"""Whether two formulas are equal.

    >>> same(parse("(x+1)^2"), parse("x^2 + 2x + 1")), same(parse(r"10 - 2\sqrt{5}"), parse(r"10 + 2\sqrt{5}"))
    (True, False)
    """
    if first == second:
        return True
    if not names(first) and not names(second):
        values = constant(first), constant(second)
        return None not in values and close(*values)
    pairs = _both(first, second)
    return bool(pairs) and all(close(one, other, 1e-9) for one, other in pairs)


def proportional(first: Tree, second: Tree) -> bool:
    """Whether two equations `first = 0` and `second = 0` say the same: one is a multiple of the other.

    >>> proportional(parse("y - (2x + 3)"), parse("2x - y + 3"))
    True
    """
    ratios = [one / other for one, other in _both(first, second) if other]
    return len(ratios) > 2 and all(close(one, other, 1e-9) for one, other in pairwise(ratios))


def written(tree: Tree) -> str:
    r"""The formula on one line, as Python's calculators write it; a rational number as its value.

    >>> written(parse(r"\frac{\sqrt{3}}{2} x^2")), written(parse("1.50"))
    ('sqrt(3) / 2 x^2', '1.5')
    """
    value = constant(tree)
    if isinstance(value, Fraction) and is_written_out(tree) and _bits(value) < 200:
        exact = value.denominator == 1 or set(_primes_of(value.denominator)) <= {2, 5}
        return f"{float(value):.12g}" if exact and value.denominator > 1 else str(value)
    match tree:
        case ("number" | "mixed", value, *_):
            return str(value)
        case ("name", name):
            return name.replace("\\", "")
        case ("pi" | "e" | "i",):
            return {"pi": "π"}.get(tree[0], tree[0])
        case ("neg", inside):
            return f"-{_grouped(inside)}"
        case ("root", inside, ("number", degree, *_)) if degree == 2:
            return f"sqrt({written(inside)})"
        case ("root", inside, degree):
            return f"root({written(inside)}, {written(degree)})"
        case ("abs" | "floor" | "ceil" as name, inside):
            return f"{name}({written(inside)})"
        case ("call", name, inside):
            return f"{name}({written(inside)})"
        case ("!", inside):
            return f"{_grouped(inside)}!"
        case ("binom", n, k):
            return f"binom({written(n)}, {written(k)})"
        case ("^", base, exponent):
            return f"{_grouped(base)}^{_grouped(exponent)}"
        case ("*", first, second):
            joined = " " if second[0] in ("name", "pi", "e", "i", "root", "call", "^") else " · "
            return f"{_grouped(first, '*')}{joined}{_grouped(second)}"
        case ("/", first, second):
            return f"{_grouped(first, '*')} / {_grouped(second)}"
    return f"{written(tree[1])} {tree[0]} {_grouped(tree[2]) if tree[2][0] in '+-' else written(tree[2])}"


def _grouped(tree: Tree, within: str = "") -> str:
    text = written(tree)
    return f"({text})" if tree[0] in ("+", "-", "neg") or (not within and tree[0] in ("*", "/")) else text


def _primes_of(n: int) -> list[int]:
    found = [prime for prime in (2, 5) if n % prime == 0]
    while n % 2 == 0:
        n //= 2
    while n % 5 == 0:
        n //= 5
    return found if n == 1 else [*found, n]
