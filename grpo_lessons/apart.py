"""A reader's code in a Python of its own, which can be ended: what travels there, and what is done with it."""

import base64
import inspect
import io
import json
import pickle
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout, suppress
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from grpo_lessons.calling import ask, complaint
from grpo_lessons.exercises import ASKED, Case, defined, first_mistake

SHOWN = 2000  # letters of what is printed: a loop may print for as long as it is let

Luggage = list[tuple[str, str, str]]


def packed(code: str, known: Mapping[str, object], code_of: Callable[[object], str]) -> Luggage:
    """What a reader's code may use of the names of its notebook: each as a kind, the name, and a text.

    Modules travel by their names, functions and classes of the notebook as code, with what that may use; all else as far
    as it can be pickled.

    >>> import math
    >>> packed("math.floor(x)", {"math": math, "x": 2.5, "y": 1}, inspect.getsource)[0]
    ('module', 'math', 'math')
    """
    found, seen = [], set()

    def pack(text: str) -> None:
        for name in dict.fromkeys(re.findall(r"\w+", text)):  # no parser: some code is made to break one
            if name in seen or name not in known:
                continue
            seen.add(name)
            thing, own = known[name], known.get("__name__")
            with suppress(Exception):  # what cannot travel is not there, and the reader's code will say so
                if isinstance(thing, ModuleType):
                    found.append(("module", name, thing.__name__))
                elif (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__ == own:
                    pack(source := code_of(thing))
                    found.append(("code", name, source))
                else:
                    found.append(("pickle", name, base64.b64encode(pickle.dumps(thing)).decode()))

    pack(code)
    return found


def unpacked(luggage: Iterable) -> dict:
    """The same names, as far as what they stand for is known here.

    >>> import math
    >>> unpacked(packed("ceil(x)", {"ceil": math.ceil, "x": 2.5}, inspect.getsource))["x"]
    2.5
    """
    names = {"__name__": "__main__"}
    for kind, name, text in luggage:
        with suppress(Exception):
            if kind == "module":
                names[name] = import_module(text)
            elif kind == "code":
                exec(text, names)
            else:
                names[name] = pickle.loads(base64.b64decode(text))
    return names


def imported(code: str) -> list[str]:
    """What code imports, as far as that is seen at a glance.

    >>> imported("import math, re\\nfrom os.path import join\\n")
    ['math', 're', 'os']
    """
    lines = re.findall(r"^[ \t]*(?:import[ \t]+([\w., \t]+)|from[ \t]+(\w+))", code, re.MULTILINE)
    names = [each.split()[0] for line, package in lines for each in (line or package).split(",") if each.strip()]
    return [*dict.fromkeys(name.partition(".")[0] for name in names if name.partition(".")[0])]


_LAST = {}  # the reward that was asked last, with its code: what it remembers, it remembers through a training


def answer(request: str, begun: Callable[[], None], printed: Callable[[str], None]) -> str:
    """Do what is asked with a reader's function, and say what came of it; both are JSON.

    Args:
        request: `name`, `code` and `luggage` of the function, and one of: `cases` it is tried on, `asked` in a way of `ASKED`;
            `columns` of a data set it is to be a reward for; what is `seen` of one step, for it to pay.
        begun: is called when all is there that the code imports, as far as that is known.
        printed: is called with what the code prints, up to `SHOWN` letters.

    >>> given = {"name": "f", "code": "print('hm')\\ndef f(x): return x", "luggage": []}
    >>> given |= {"cases": [{"given": {"x": 1}, "expected": 2, "why": "one more"}], "asked": "itself"}
    >>> said = []
    >>> answer(json.dumps(given), lambda: None, said.append)
    '{"mistake": "For x=1 it returned 1, but 2 is right: one more."}'
    >>> "".join(said)
    'hm\\n'
    """
    given = json.loads(request)
    names = unpacked(given["luggage"])
    for module in imported(given["code"]):
        with suppress(Exception):
            find_spec(module)  # in a page that may fetch it
    begun()
    with redirect_stdout(_Shown(printed)):
        try:
            return json.dumps(_answered(given, names))
        except BaseException as error:  # the reader's code may raise anything
            return json.dumps({"error": in_words(error)})


def _answered(given: dict, names: dict) -> dict:
    key = given["name"], given["code"]
    if "seen" in given and _LAST.get("key") == key:
        theirs = _LAST["theirs"]
    else:
        theirs = defined(given["name"], given["code"], names)
        _LAST.update(key=key, theirs=theirs)
    if "cases" in given:
        cases = [Case(row["given"], row["expected"], row["why"]) for row in given["cases"]]
        return {"mistake": first_mistake(ASKED[given["asked"]](theirs), cases)}
    if "columns" in given:
        return {"complaint": complaint(theirs, given["columns"])}
    return {"scores": ask(theirs, **given["seen"])}


def in_words(error: BaseException) -> str:
    """What code has raised.

    >>> in_words(SystemExit()), in_words(KeyError("x"))
    ('your code ends Python', "KeyError: 'x'")
    """
    return "your code ends Python" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"


class _Shown(io.TextIOBase):
    """Tells what is printed, and no more than a page can show."""

    def __init__(self, tell: Callable[[str], None]):
        self.tell, self.left = tell, SHOWN

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.left > 0:
            self.tell(text[: self.left] + ("…" if len(text) > self.left else ""))
            self.left -= len(text)
        return len(text)
