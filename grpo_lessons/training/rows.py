"""What a data set of prompts must be for a training: told by row, column and value before a library stumbles over it."""

from collections.abc import Iterable, Mapping, Sequence

_KINDS = {
    bool: "a truth value",
    int: "a number",
    float: "a number",
    str: "text",
    list: "a list",
    tuple: "a list",
    dict: "a dict",
}
ROLES = ("system", "user", "assistant", "tool", "developer")


def problem(rows: Iterable[Mapping]) -> str | None:
    """Why rows cannot be trained on, and what to change; None if they can.

    >>> problem([{"prompt": "1 + 1?", "answer": 2}, {"prompt": "2 + 2?", "answer": "x = 4"}])
    "Column 'answer' mixes kinds: row 1 has a number (2), row 2 has text ('x = 4'). Make all of it text: str(value)."
    >>> problem([{"question": "1 + 1?", "answer": 2}])
    "Row 1 has no column 'prompt'; it has 'answer', 'question'. Name the column that asks 'prompt'."
    """
    kinds: dict[str, tuple[str, int, object]] = {}
    for at, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            return (
                f"Row {at} is {_shown(row)}: expected a dict with a 'prompt' and the columns that the rewards ask for."
            )
        if "prompt" not in row:
            there = ", ".join(map(repr, sorted(map(str, row)))) or "none"
            return f"Row {at} has no column 'prompt'; it has {there}. Name the column that asks 'prompt'."
        if wrong := wrong_prompt(row["prompt"]):
            return f"Row {at}, column 'prompt': {wrong}"
        for name, value in row.items():
            kind = _KINDS.get(type(value))
            if kind is None:
                continue  # None goes with everything; what else there may be, the library knows
            first = kinds.setdefault(name, (kind, at, value))
            if first[0] != kind:
                mend = (
                    "Make all of it text: str(value)." if name != "prompt" else "Write all as text, or all as messages."
                )
                return (
                    f"Column {name!r} mixes kinds: row {first[1]} has {first[0]} ({_shown(first[2])}), "
                    f"row {at} has {kind} ({_shown(value)}). {mend}"
                )
    return None


def wrong_prompt(prompt) -> str | None:
    """Why something cannot be a prompt, and what to change; None if it can.

    >>> wrong_prompt(7)
    "7 is neither text nor a list of messages, such as [{'role': 'user', 'content': '1 + 1?'}]."
    """
    if isinstance(prompt, str):
        return None if prompt.strip() else "it is empty. Leave the row out."
    if not isinstance(prompt, Sequence) or not prompt:
        return f"{_shown(prompt)} is neither text nor a list of messages, such as [{{'role': 'user', 'content': '1 + 1?'}}]."
    for number, message in enumerate(prompt):
        if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
            return f"message {number} is {_shown(message)}: expected a dict with 'role' and 'content'."
        if message["role"] not in ROLES:
            return f"message {number} has the role {_shown(message['role'])}: expected one of {', '.join(ROLES)}."
    return None


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
