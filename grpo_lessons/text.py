"""Reading a completion: its text, its tagged blocks, its final answer. Linear in the text, whatever is in it."""

import re
from fractions import Fraction

# No honest reply opens a tag a hundred times or writes a number of fifty digits.
# Looking no further keeps hostile text cheap.
MOST_TAGS, MOST_DIGITS = 100, 50

_INVISIBLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u00ad\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufeff]*")
# A sign belongs to a number only where nothing countable stands before it: 57-38 ends in 38, "= -5" in -5. The numeral
# is atomic, so that 72.5kg is 72.5 and never 72.
_NUMERAL = r"(?>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(?>[eE][-+]?[0-9]{1,3}(?![0-9]))?"
_NUMBER = re.compile(rf"(?<![\w.^/])(?:(?<![)\]}}])-)?[$€£¥]?-?{_NUMERAL}(?>/-?[0-9]+(?:\.[0-9]+)?)?(?!/[0-9])")
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*([-+]?[0-9]+)\s*\}\s*\{\s*([-+]?[0-9]+)\s*\}")
# What may stand around the one number of an answer: words, units and punctuation, but nothing that changes its value.
_WORDS = re.compile(r"(?:[^\W\d_]|[\s,.:;'\"“”`()$€£¥%°*~≈?…])*")
_CHANGES = re.compile(
    r"\b(?:minus|negative|not|half|dozen|hundred|thousand|million|billion|squared|cubed)\b", re.IGNORECASE
)
_WRAPPING = [
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|boxed)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\[\[\]()]|\\,|\^\s*\{?\s*\\circ\s*\}?"), ""),
    (re.compile(r"(?<=[A-Za-z]{2})\^\{?[23]\}?|(?<=[A-Za-z])[²³]|(?<=[A-Za-z])/(?=[A-Za-z])"), " "),  # cm^2, km/h
]
_SPACE = re.compile(r"\s*")


def completion_text(completion) -> str:
    """The text of a completion: a string, or a conversation's assistant messages. Anything else reads as empty.

    A chat template may have moved a thought into a field of its own; it is put back in front of the content.

    >>> completion_text([{"role": "assistant", "content": "Hello."}]), completion_text(None)
    ('Hello.', '')
    >>> completion_text([{"role": "assistant", "reasoning_content": "1 + 1 = 2", "content": "2"}])
    '<think>1 + 1 = 2</think>2'
    """
    if isinstance(completion, str):
        return completion
    messages = [completion] if isinstance(completion, dict) else completion
    if not isinstance(messages, (list, tuple)):
        return ""
    return "".join(
        _message_text(message)
        for message in messages
        if isinstance(message, dict) and message.get("role", "assistant") == "assistant"
    )


def _message_text(message: dict) -> str:
    content = message.get("content")
    if isinstance(content, (list, tuple)):  # content in parts, as multimodal models write it
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    content = content if isinstance(content, str) else ""
    for field in ("reasoning_content", "reasoning", "thinking"):
        if isinstance(thought := message.get(field), str) and thought:
            return f"<think>{thought}</think>{content}"
    return content


def question(prompt) -> str:
    """What a prompt asks: the text itself, or a conversation's last message.

    >>> question([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    'Why?'
    """
    return prompt if isinstance(prompt, str) else completion_text({**prompt[-1], "role": "assistant"})


def is_blank(text: str) -> bool:
    """Whether nothing in the text can be seen: white space, control and zero-width characters only.

    >>> is_blank(" \\n\\u200b"), is_blank("x")
    (True, False)
    """
    return _INVISIBLE.fullmatch(text) is not None


def read_blocks(text: str, tags: tuple[str, ...]) -> dict[str, str] | None:
    """The content of each block, if the stripped text is exactly these blocks in this order, else None.

    Every opening and closing tag occurs once, only white space stands between blocks, and no block is blank.

    >>> read_blocks("<think>6 * 7</think> <answer>42</answer>", ("think", "answer"))
    {'think': '6 * 7', 'answer': '42'}
    >>> read_blocks("Sure! <think>6 * 7</think><answer>42</answer>", ("think", "answer")) is None
    True
    """
    text, position, blocks = text.strip(), 0, {}
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        if not text.startswith(opening, position):
            return None
        start = position + len(opening)
        end = text.find(closing, start)
        if end < 0 or is_blank(text[start:end]):
            return None
        if not (has_once(text, opening) and has_once(text, closing)):
            return None
        blocks[tag] = text[start:end]
        position = end + len(closing)
        position = _SPACE.match(text, position).end()
    return blocks if position == len(text) else None


def has_once(text: str, part: str) -> bool:
    """Whether `part` occurs exactly once; it stops looking at the second.

    >>> has_once("<a>", "<a>"), has_once("<a><a>", "<a>")
    (True, False)
    """
    first = text.find(part)
    return first >= 0 and text.find(part, first + len(part)) < 0


def mark_tags(text: str, tags: tuple[str, ...]) -> list[tuple[str, str]]:
    """The text cut into (piece, kind) for display: kind is "tag", the name of the block around the piece, or "".

    >>> mark_tags("So <answer>42</answer>", ("think", "answer"))
    [('So ', ''), ('<answer>', 'tag'), ('42', 'answer'), ('</answer>', 'tag')]
    """
    pieces, inside, position = [], "", 0
    for tag in re.finditer("|".join(f"</?{re.escape(tag)}>" for tag in tags), text):
        if tag.start() > position:
            pieces.append((text[position : tag.start()], inside))
        pieces.append((tag[0], "tag"))
        inside = "" if tag[0].startswith("</") else tag[0][1:-1]
        position = tag.end()
    if position < len(text):
        pieces.append((text[position:], inside))
    return pieces


def outside_thoughts(text: str) -> str:
    """The text without its thoughts (`<think>…</think>`); empty if a thought is never closed.

    A closing tag without an opening one ends a thought that was opened in the prompt: nothing before it counts.

    >>> outside_thoughts("<think>40 + 2</think>42"), outside_thoughts("42 <think>or not")
    ('\\n42', '')
    """
    if max(text.count("<think>"), text.count("</think>")) > MOST_TAGS:
        return ""
    kept, depth, position = [], 0, 0
    for tag in re.finditer("</?think>", text):
        if depth == 0:
            kept.append(text[position : tag.start()])
        if tag[0] == "<think>":
            depth += 1
        elif depth:
            depth -= 1
        else:
            kept.clear()
        position = tag.end()
    return "" if depth else "\n".join([*kept, text[position:]])


def has_thought(text: str) -> bool:
    """Whether a reply thinks: a `<think>` block, closed, with something in it that can be seen.

    >>> has_thought("<think>40 + 2</think>42"), has_thought("<think></think>42"), has_thought("<think>40 + 2")
    (True, False, False)
    """
    blocks = (piece.partition("</think>") for piece in text.split("<think>", MOST_TAGS)[1:])
    return any(closed and not is_blank(content) for content, closed, _ in blocks)


def final_answer(text: str, strict: bool = False) -> str | None:
    """What a reply gives as its answer, thoughts left out, or None.

    Looks at the `<answer>` block (several must agree), then the last `\\boxed{}`, then `#### x`, then the last number;
    `strict` looks at the block only. The text comes back as it stands; `number` tells its value.

    >>> final_answer("<think>6 * 7 = 42</think><answer>42.0</answer>")
    '42.0'
    >>> final_answer("It costs $1,234."), final_answer("It costs $1,234.", strict=True)
    ('$1,234', None)
    """
    text = outside_thoughts(text)
    answers = [piece.partition("</answer>") for piece in text.split("<answer>", MOST_TAGS)[1:]]
    answers = [content.strip() for content, closed, _ in answers if closed]
    if answers:
        agree = len({number(answer) or answer for answer in answers}) == 1
        return answers[0] if agree and text.count("<answer>") <= MOST_TAGS else None
    return None if strict else _boxed(text) or _after_hashes(text) or _last_number(text)


def number(text: str | None) -> Fraction | None:
    """The value of a text that gives one number, exactly; None if there is none, several, a formula, or no text.

    >>> [str(number(t)) for t in ("72.0", "1,234", "−5", "3/4", "\\\\frac{3}{4}", "$72", "40 + 32 = 72.", "72 or 73")]
    ['72', '1234', '-5', '3/4', '3/4', '72', '72', 'None']
    """
    if text is None or len(text) > 1000:
        return None
    text = _plain(text).rpartition("=")[2]
    found = list(_NUMBER.finditer(text))
    if len(found) != 1:
        return None
    before, after = text[: found[0].start()], text[found[0].end() :]
    if _CHANGES.search(before + " " + after) or re.match("[A-Za-z](?![A-Za-z])", after):  # 2x is no 2
        return None
    return _value(found[0][0]) if _WORDS.fullmatch(before) and _WORDS.fullmatch(after) else None


def _plain(text: str) -> str:
    """LaTeX and typography around numbers made plain: 3/4 for \\frac{3}{4}, a hyphen for a minus, 72 for \\text{72}."""
    text = text.replace("−", "-").replace("\\$", "$").replace("\\%", "%").replace("{,}", ",").replace("\u200b", "")
    text = _FRACTION.sub(r"\1/\2", text)
    for pattern, plain in _WRAPPING:
        text = pattern.sub(plain, text)
    return re.sub(r"(?<=[0-9]) ?/ ?(?=-?[0-9])", "/", text)


def _value(numeral: str) -> Fraction | None:
    if len(numeral) > MOST_DIGITS:
        return None
    top, _, bottom = re.sub("[$€£¥,]", "", numeral).replace("--", "-").partition("/")
    divisor = Fraction(bottom or 1)
    return Fraction(top) / divisor if divisor else None


def _boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, start = 1, start + len("\\boxed{")
    for position, char in enumerate(text[start : start + 1000], start):
        depth += (char == "{") - (char == "}")
        if depth == 0:
            return text[start:position].strip() or None
    return None


def _after_hashes(text: str) -> str | None:
    start = text.rfind("####")
    line = _plain(text[start + 4 : start + 200]).lstrip(" ").partition("\n")[0] if start >= 0 else ""
    found = _NUMBER.match(line)
    # Four hashes also head a section: "#### 1. First we add" is no answer, "#### 72 apples." is.
    return found[0] if found and re.fullmatch(r"[%°]?\s*[^\W\d_]*[.!]?\s*", line[found.end() :]) else None


def _last_number(text: str) -> str | None:
    end = max(text.rfind(digit) for digit in "0123456789") + 1
    if end == 0:
        return None
    start = max(0, end - 400)
    found = list(_NUMBER.finditer(_plain(text[start : end + 20])))
    # A numeral that fills the window from its first character began before it: far too long to be an answer.
    return found[-1][0] if found and (start == 0 or found[-1].start() > 0) else None


def counted(n: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "token"), counted(20, "token")
    ('1 token', '20 tokens')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
