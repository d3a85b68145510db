"""Reading a completion: its text, its thoughts, its tagged blocks and boxes. Linear in the text, whatever is in it."""

import re
from collections.abc import Mapping
from functools import lru_cache

# No honest reply opens a tag a hundred times or writes a number of fifty digits.
# Looking no further keeps hostile text cheap.
MOST_TAGS = 100

_INVISIBLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u00ad\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufeff]*")
_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_BARE_BOX = re.compile(r"\\boxed\s+(-?[0-9][0-9.,/]*[0-9]|-?[0-9]|[A-Za-z]\b)")
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
    return "\n".join(  # a line each: "add 30 and 4" and "2" are not 42
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


# How models mark a thought, opening and closing. Only gpt-oss ends other messages with its closing mark, too.
THOUGHTS = (
    ("<think>", "</think>"),  # DeepSeek-R1, Qwen, GLM, Nemotron, LFM2.5
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral, Ministral
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|channel|>analysis<|message|>", "<|end|>"),  # gpt-oss
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("◁think▷", "◁/think▷"),  # Kimi
)
_OPENINGS = {opening for opening, _ in THOUGHTS}
_CLOSINGS = {closing for _, closing in THOUGHTS}
_OPENED_ELSEWHERE = _CLOSINGS - {"<|end|>"}
_MARKS = [mark for pair in THOUGHTS for mark in pair]
# gpt-oss where the tokenizer has left out its special tokens, as TRL's completions do: only the names of channels stay.
_CHANNELS = re.compile(r"analysis(?:(.*?)assistantfinal(.*)|(?=[A-Z0-9])(.*))", re.DOTALL)
_ANSWER_CHANNEL = re.compile(r"(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>|<\|return\|>")


@lru_cache(maxsize=64)
def _any_of(marks: tuple[str, ...]) -> re.Pattern:
    """Twenty marks at every place of a megabyte are slow; a text has one or two of them."""
    return re.compile("|".join(map(re.escape, marks)))


def opened_thought(prompt: str) -> str:
    r"""The mark of a thought that the prompt has opened and not closed, or "".

    >>> opened_thought("<|user|>12 + 45?<|assistant|><think>\n"), opened_thought("Think in <think>…</think>. 12 + 45?")
    ('<think>', '')
    """
    marks = list(_any_of(tuple(_MARKS)).finditer(prompt, max(0, len(prompt) - 200)))
    return marks[-1][0] if marks and marks[-1][0] in _OPENINGS and not prompt[marks[-1].end() :].strip() else ""


def with_opened_thought(texts: list[str], columns: Mapping) -> list[str]:
    """The completions with the mark of the thought that their prompt has opened: what the model was given to go on from.

    Args:
        texts: the completions.
        columns: what TRL passes to a reward. A text as a prompt shows its end. Of a conversation only the tokenizer's
            template knows; what it opens stands in the column `opened_thought`, where a session has put it.

    >>> with_opened_thought(["1 + 1 = 2</think>2"], {"opened_thought": ["<think>"]})
    ['<think>1 + 1 = 2</think>2']
    """
    opened = columns.get("opened_thought")
    if not isinstance(opened, (list, tuple)) or len(opened) != len(texts):
        prompts = columns.get("prompts")
        if not isinstance(prompts, (list, tuple)) or len(prompts) != len(texts):
            return texts
        opened = [opened_thought(prompt) if isinstance(prompt, str) else "" for prompt in prompts]
    return [
        mark + text if mark in _OPENINGS and not text.lstrip().startswith(mark) else text
        for mark, text in zip(opened, texts, strict=True)
    ]


def outside_thoughts(text: str) -> str:
    """The text without its thoughts (`THOUGHTS`: `<think>…</think>` and others); empty if a thought is never closed.

    A closing mark without an opening one ends a thought that was opened in the prompt: nothing before it counts.

    >>> outside_thoughts("<think>40 + 2</think>42"), outside_thoughts("42 <think>or not")
    ('\\n42', '')
    >>> outside_thoughts("[THINK]40 + 2[/THINK]42"), outside_thoughts("analysis40 + 2.assistantfinal42")
    ('\\n42', '42')
    """
    if channels := _CHANNELS.match(text):
        return channels[2] or ""
    marks = tuple(mark for mark in _MARKS if mark[0] in text and mark in text)
    if not marks:
        return text
    if sum(map(text.count, marks)) > 2 * MOST_TAGS:
        return ""
    kept, depth, position = [], 0, 0
    for tag in _any_of(marks).finditer(text):
        if depth == 0:
            kept.append(text[position : tag.start()])
        if tag[0] in _OPENINGS:
            depth += 1
        elif depth:
            depth -= 1
        elif tag[0] in _OPENED_ELSEWHERE:
            kept.clear()
        position = tag.end()
    rest = "" if depth else "\n".join([*kept, text[position:]])
    return _ANSWER_CHANNEL.sub("", rest) if "<|" in rest else rest


def has_thought(text: str) -> bool:
    """Whether a reply thinks: a thought (`THOUGHTS`), closed, with something in it that can be seen.

    >>> has_thought("<think>40 + 2</think>42"), has_thought("<think></think>42"), has_thought("<think>40 + 2")
    (True, False, False)
    """
    if channels := _CHANNELS.match(text):
        return not is_blank(channels[1] or "")
    for opening, closing in THOUGHTS:
        blocks = (piece.partition(closing) for piece in text.split(opening, MOST_TAGS)[1:])
        if any(closed and not is_blank(content) for content, closed, _ in blocks):
            return True
    return False


def closing(text: str, start: int) -> int:
    """Where the bracket at `start` closes, or -1."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    depth = 0
    for at in range(start, min(len(text), start + 1200)):
        depth += (text[at] in pairs) - (text[at] in ")]}")
        if depth == 0:
            return at
    return -1


def boxed(text: str) -> str | None:
    """The last box of a text; several that stand in one list, as the list. None without one, or if the last is cut off."""
    found: list[tuple[int, int, str]] = []  # from, to, content
    at = max(0, len(text) - 4000)
    while len(found) <= MOST_TAGS and (box := _BOX.search(text, at)):
        end = closing(text, box.end())
        if end < 0:
            return None
        found.append((box.start(), end + 1, text[box.end() + 1 : end].strip()))
        at = end + 1
    if not found:
        bare = list(_BARE_BOX.finditer(text, max(0, len(text) - 4000)))
        return bare[-1][1] if bare else None
    kept = [found[-1]]
    for box in reversed(found[:-1]):
        if (
            not re.fullmatch(r"[\s$,;\\()]*(?:and|or|,|;)?[\s$,;\\()]*", text[box[1] : kept[0][0]])
            or not text[box[1] : kept[0][0]].strip()
        ):
            break
        kept.insert(0, box)
    return ", ".join(box[2] for box in kept) or None


def counted(n: int, what: str, many: str = "") -> str:
    """A number of things; `many` where an s does not make more of one.

    >>> counted(1, "token"), counted(20, "token"), counted(2, "reply", "replies")
    ('1 token', '20 tokens', '2 replies')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {many or what + 's'}"
