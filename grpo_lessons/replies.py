"""What a reply gives as its answer: found in its block, its box, behind `####` or "the answer is", or its last number."""

import re

from grpo_lessons.answers import number
from grpo_lessons.comparing import equal
from grpo_lessons.reading import MATHS, MONTHS, NUMERAL, read
from grpo_lessons.text import MOST_TAGS, boxed, closing, outside_thoughts
from grpo_lessons.typography import MONEY, plain
from grpo_lessons.units import GLUED, MULTIPLIERS, SIGNS, dimension

_ANCHOR = re.compile(
    r"(?:\b(?:answers?|solutions|roots|zeros|values|ans|(?:correct|right|best)\s+(?:option|choice))\b)\s*(?:\((?:in|to)[^()\n]{0,40}\)\s*)?(?:is|are|:|=|would be)+[:*\s]*|(?:Antwort|réponse|respuesta)\s+(?:ist|est|es)\s+|故选\s*[:：]?\s*|(?:答案|结果)\s*(?:是|为|:|：)+\s*",
    re.IGNORECASE,
)
_WITH_A_FORM = (
    "choice",
    "date",
    "time",
    "ratio",
    "range",
    "tuple",
    "interval",
    "union",
    "set",
    "matrix",
    "number in a base",
)
_ENDS = re.compile(r"(?:<\|(?:im_end|eot_id|endoftext|end)\|>|</s>|<end_of_turn>|<eos>|<\|return\|>)\s*\Z")
_CITED = re.compile(r"(?<=[^\s\[(,]) ?\[[0-9]{1,2}\](?!\()")  # 72 [1]
_SENTENCE_ENDS = re.compile(
    r"\n|,?\s(?:since|because|as|which|so|where)\s|[!?。](?=\s|$)|(?<!Rs)\.(?=\s+[A-Z0-9]|\s*$)|\s\[[0-9]+\]"
)
_TOKEN = re.compile(
    rf"(?<![A-Za-z0-9_.^/\\])(?<!\^\{{)(?:(?<![)\]}}])[-+](?!\s))?(?:[{MONEY}]\s?-?)?"
    rf"(?:\\frac\s*\{{\s*-?[0-9]+\s*\}}\s*\{{\s*-?[0-9]+\s*\}}|{NUMERAL}(?:\s?\\frac\s*\{{\s*[0-9]+\s*\}}\s*\{{\s*[0-9]+\s*\}})?(?:[eE][-+]?[0-9]{{1,3}}(?![0-9]))?)"
    rf"(?:(?:\s?[/:]\s?-?|,|-| (?=[0-9]+/[0-9])){NUMERAL})*(?:\s?(?:\\times|\\cdot|x)\s?10\s?\^\s?\{{?-?[0-9]+\}}?)?"
    rf"(?:\s?%|!|\s?(?i:{'|'.join(MULTIPLIERS)})s?\b|\s?[ap]\.?m\b)?"
)
_BEFORE_DENIES = re.compile(
    r"(?:\b(?:not|never|nor|neither|isnt|cannot|can not|instead of|rather than|other than|except|nicht|kein|pas|no es|не)|n't|不是|不等于)"
    r"(?:\s+[^\W\d_]+){0,3}[\s$\\(:]*$"
    r"|[0-9]\S*\s+(?:or|and/or|oder|bis|ou|или|o|à)\s+(?:[^\W\d_]+\s*(?:=|is)?\s*)?$|[0-9]\s?(?:或|至|到|～|~)\s?$"
    r"|\b(?:between|entre|zwischen)\s[^.\n]{1,20}\s(?:and|et|und|y)\s+$",
    re.IGNORECASE,
)
_TO = re.compile(r"(?<!\S)(\S*[0-9]\S*)\s+to\s+$")
_AFTER_DENIES = re.compile(
    r"[^\w.]{0,4}\s*(?:(?:is|was|would be|seems|looks|ist|est|es)\s*)?"
    r"(?:not|n't|isn't|wasn't|wrong|incorrect|false|falsch|faux|falso|too (?:big|small|large|high|low))\b"
    r"|[^\w.]{0,3},?\s*but (?:that|this|it)(?:'s| is| was) (?:not|wrong|incorrect|false)|是错|不对|\W{0,3}\?\s*no\b"
    r"|\s+(?:or|oder|ou|или)\s+\S*[0-9]",
    re.IGNORECASE,
)


def final_answer(text: str, strict: bool = False) -> str | None:
    r"""What a reply gives as its answer, thoughts left out, or None.

    Looks at the `<answer>` block (several must agree), then the last `\boxed{}`, then `#### x`, then "the answer is x", then
    the last number; `strict` looks at the block only. The text comes back as it stands; `read` tells what it says.

    >>> final_answer("<think>6 * 7 = 42</think><answer>42.0</answer>")
    '42.0'
    >>> final_answer("It costs $1,234."), final_answer("It costs $1,234.", strict=True)
    ('$1,234', None)
    """
    text = _ENDS.sub("", outside_thoughts(text))
    blocks = [piece.partition("</answer>") for piece in text.split("<answer>", MOST_TAGS)[1:]]
    blocks = [content.strip() for content, closed, _ in blocks if closed]
    if blocks:
        agree = text.count("<answer>") <= MOST_TAGS and all(_agree(blocks[0], block) for block in blocks[1:])
        return (boxed(blocks[0]) or blocks[0]) if agree else None
    if strict:
        return None
    if "\\boxed" in text or "\\fbox" in text:
        return None if _is_denied_box(text) else boxed(text)
    hashes = _after_hashes(text)
    if hashes:
        return hashes[-1] if all(_agree(hashes[-1], each) for each in hashes[:-1]) else None
    return _after_anchor(text) or _last(text)


def _is_denied_box(text: str) -> bool:
    """Whether the words around the last box take it back: "not", "is wrong"."""
    tail = text[-2000:]
    start = max(tail.rfind("\\boxed"), tail.rfind("\\fbox"))
    brace = tail.find("{", start)
    end = closing(tail, brace) if brace >= 0 else -1
    return bool(
        _BEFORE_DENIES.search(tail[max(0, start - 60) : start])
        or (end > 0 and _AFTER_DENIES.match(tail[end + 1 : end + 80]))
    )


def _agree(one: str, other: str) -> bool:
    return one == other or any(equal(a, b) for a in read(one)[:1] for b in read(other)[:1])


def _after_hashes(text: str) -> list[str]:
    """What stands behind four hashes, as GSM8K writes answers. They also head sections: "#### 1. First we add" is none."""
    lines = (piece.partition("\n")[0][:200].strip() for piece in text[-20_000:].split("####", MOST_TAGS)[1:])
    return [
        line
        for line in lines
        if re.match(rf"[*$\\(\s]*[-+−]?[{MONEY}]?[\w.\\½⅓¼¾]", line)
        and not re.match(r"\W*[0-9]+[.)]\s+\S|[^\W\d_]{2}", line)
        and any(answer.kind not in ("word", "choice") for answer in read(line)[:1])
    ]


def _after_anchor(text: str) -> str | None:
    tail = text[-2000:]
    found = next(reversed(list(_ANCHOR.finditer(tail))), None)
    if found is None or _BEFORE_DENIES.search(tail[: found.start()]):
        return None
    content = tail[found.end() :]
    end = _SENTENCE_ENDS.search(content)
    if re.search(
        r"\b(?:no|wait|actually|correction|sorry)\b", content[end.start() :][:40] if end else "", re.IGNORECASE
    ):
        return None  # it is taken back
    if display := re.match(r"\\\[(.{1,200}?)\\\]|\$\$(.{1,200}?)\$\$", content, re.DOTALL):
        return (display[1] or display[2]).strip()
    content = content[: end.start() if end else 200].strip()[:200]
    if content.count("*") % 4:  # bold that began before
        content = content.replace("**", "").strip("*")
    if number(content.partition(" (")[0]) is not None:
        content = content.partition(" (")[0]  # 72 (48 + 24)
    answers = read(content)
    return content if answers and (answers[0].kind != "word" or len(content.split()) <= 3) else None


def _last(text: str) -> str | None:
    """The last number of a text, whole: of `10 000`, `3:30`, `70-72` and `2 2/3` the last digits are another number."""
    if len(text) <= 60 and len(text.split()) < 5 and any(answer.kind in _WITH_A_FORM for answer in read(text)[:1]):
        return text.strip()
    end = 1 + max(text.rfind(digit) for digit in "0123456789")
    if not text.isascii():  # digits of other scripts, and ½
        end = max([end, *(at + 1 for at in range(max(0, len(text) - 2000), len(text)) if text[at].isnumeric())])
    if end == 0:
        return _last_words(text)
    start = max(0, end - 400)
    window = _CITED.sub("", plain(text[start : end + 60]))
    if len(window) > 1000:  # of five hundred characters: nothing but ½
        return None
    spans, tokens = list(MATHS.finditer(window)), list(_TOKEN.finditer(window))
    if spans and (not tokens or spans[-1].end() >= tokens[-1].end()):
        return _last_formula(window, spans)
    if not tokens:
        return _last_words(text)
    if start > 0 and tokens[-1].start() == 0:  # it began before the window: far too long to be an answer
        return None
    return _whole(window, tokens[-1], brief=len(text.split()) < 6)


def _last_formula(window: str, spans: list[re.Match]) -> str | None:
    """The last formula in dollars, or the last several that stand in one list: $x = -3$ and $x = 12$."""
    first = len(spans) - 1
    while first and _LISTED.fullmatch(window[spans[first - 1].end() : spans[first].start()]):
        first -= 1
    if _BEFORE_DENIES.search(window[: spans[first].start()]) or _AFTER_DENIES.match(window[spans[-1].end() :]):
        return None
    if first < len(spans) - 1:
        return window[spans[first].start() : spans[-1].end()]
    return next(filter(None, spans[-1].groups()))


def _whole(window: str, token: re.Match, brief: bool) -> str | None:
    """A number with what belongs to it, or None where it is a part of something else, or taken back."""
    before, said, after = window[: token.start()], token[0].strip(), window[token.end() :]
    if whole := _around(before, token[0], after):
        return whole
    changed = _IN_A_FORMULA.search(before) or _CHANGED_BEHIND.match(after) or (brief and _BOUND.search(before))
    if changed or (re.search(r"\{\s*$", before) and not re.search(r"\\text\s*\{\s*$", before)):
        return None
    if _BEFORE_DENIES.search(before) or _AFTER_DENIES.match(after):
        return None
    if after[:1] in SIGNS:  # 5万
        return said + after[0]
    if minus := re.search(r"\b(?:minus|negative)\s+$", before):
        return None if re.search(r"[0-9]\s+$", before[: minus.start()]) else f"-{said}"
    if (to := _TO.search(before)) and not re.search(r"\bfrom\s+$", before[: to.start()]):
        return None
    if falling := re.fullmatch(r"([0-9.]+)-([0-9.]+)", token[0]):  # 100-72 is no range: it ends in 72
        one, other = (number(each) for each in falling.groups())
        return falling[2] if one and other and one >= other else said
    if (re.match(r"[A-Za-z]", after) and not GLUED.match(after)) or re.match(r"\^|\s?\\(?:sqrt|pi)|[!({]", after):
        return None
    unit = _MEASURE.match(after)
    return said.rstrip(".") + (unit[0].rstrip(" .,") if unit and dimension(unit[0]) else "")


def _around(before: str, token: str, after: str) -> str | None:
    """The point, interval, list or date that a number is the last part of."""
    if (end := re.match(r"\s*[)\]}]", after)) and (
        start := max(before.rfind("("), before.rfind("["), before.rfind("{"))
    ) >= 0:
        inside = before[start + 1 :]
        if "," in inside and len(inside) < 80 and not re.search("[a-z]{3}", inside):
            return f"{before[start:]}{token}{end[0]}"
    if found := re.search(r"(?:(?<!\S)-?[0-9][0-9.,/]*\s*,\s*)*(?<!\S)[$-]*[0-9][0-9.,/]*,?\s+and\s+$", before):
        return f"{found[0]}{token}"
    if found := _MONTH.search(before):
        return f"{found[0]}{token}"
    if found := _IN_TWO_UNITS.search(before):
        unit = re.match(r"\s*[A-Za-z]+", after)
        return f"{found[0]}{token}{unit[0] if unit else ''}"
    return None


_LISTED = re.compile(r"\s*(?:,?\s*(?:and|or)|,)\s*")
_MONTH = re.compile(rf"\b(?:{'|'.join(map(str.capitalize, MONTHS))}) $")
_IN_TWO_UNITS = re.compile(
    r"[0-9][0-9.,]*\s*(?:feet|foot|ft|hours?|h|minutes|min|dollars|pounds|lbs?|years|months|weeks|days)[ ,]*(?:and )?$"
)
_IN_A_FORMULA = re.compile(
    r"(?:\\(?:sqrt|pm|mp|le|ge|ne|times|cdot|div)|(?<=[0-9A-Za-z)])\s?[+*/]|(?<![a-z=-])[<>]|(?<=[0-9a-z)] )-|[0-9]\s?[;&|]"
    r"|\b(?:sqrt|mod|modulo|choose|over|out of|log(?:_\S+)?|unlike|exceeds?|below|above|under)"
    r"|\b(?:more|less|fewer|greater|smaller|larger|other) than|\b(?:root|reciprocal|square|cube|log|third|power|inverse|multiple|factor) of"
    r"|[0-9]\s+(?:to the|in|through|x|x\s)|\b[A-Za-z]+\((?:mod)?|\(mod)\s*$"
)
_BOUND = re.compile(r"\b(?:at least|at most|up to|no more than|no less than|no fewer than)\s+$", re.IGNORECASE)
_CHANGED_BEHIND = re.compile(
    r"\s*(?:squared|cubed|factorial)\b|\s+or\s+(?:more|less|fewer)\b|\s+and an? (?:half|third|quarter)\b|\s[xyz]\W*$"
)
_MEASURE = re.compile(
    r"\s?(?:\\degree|[A-Za-z]+)(?:\s?\^\s?\{?[23]\}?)?(?:\s?/\s?[A-Za-z]+(?:\s?\^\s?\{?[23]\}?)?)?(?![A-Za-z])"
)


def _last_words(text: str) -> str | None:
    """A reply of a few words is the answer itself."""
    return text.strip() if 0 < len(text.strip()) <= 40 and read(text) else None
