r"""One spelling for what people and models write: digits of every script, signs of every font, LaTeX and Markdown.

>>> plain("－７２ ≤ x² · ½"), plain(r"\left( 10{,}000\,\mathrm{~cm}^2 \right)")
('-72 \\le x^{2} \\cdot \\frac{1}{2}', '( 10,000 \\text{ cm}^2 )')
"""

import re
import unicodedata
from functools import lru_cache

MONEY = "¤$€£¥₹¢₩₽₺฿₫₱₪₦"  # ¤ stands for LaTeX's \$, which is never the sign around a formula

_SIGNS = {
    "-": "−–—﹣‐‑‒―",
    "\\times ": "×✕✖⨯",
    "\\cdot ": "·⋅∙",
    "/": "÷∕⁄",
    "\\sqrt ": "√",
    "\\infty ": "∞",
    "\\le ": "≤⩽≦",
    "\\ge ": "≥⩾≧",
    "\\ne ": "≠",
    "\\approx ": "≈≃≅∼",
    "\\pm ": "±",
    "\\mp ": "∓",
    "\\cup ": "∪",
    "\\cap ": "∩",
    "\\in ": "∈",
    "\\emptyset ": "∅",
    "\\degree ": "°˚º",
    "'": "′’‘ʼ",
    '"': "“”„«»",
    ".": "。٫",
    ",": "、٬",
    ", ": "，",
    ":": "∶",
    " ": "\xa0\u2002\u2003\u2007\u2009\u200a\u202f\u3000\t\r",
    "": "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad",
    **{
        f"\\{name} ": char
        for name, char in zip(
            "alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi pi rho sigma tau phi chi psi omega "
            "Gamma Delta Theta Lambda Sigma Phi Psi Omega".split(),
            "αβγδεζηθκλμνξπρστφχψωΓΔΘΛΣΦΨΩ",
            strict=True,
        )
    },
}
_PLAIN = {char: plain for plain, chars in _SIGNS.items() for char in chars}
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_LATEX = [
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"\\\$", "¤"),
        (r"\\(?:left|right|[bB]ig+[lrm]?|displaystyle|textstyle|limits|mathstrut)(?![A-Za-z])\s?\.?", ""),
        (r"(?<!\\)\\!", ""),
        (r"(?<!\\)\\[,;: ]|(?<!\\)~|\\q?quad(?![A-Za-z])|\\(?:thin|med|thick)space(?![A-Za-z])", " "),
        (r"\{([,:])\}", r"\1"),
        (r"\\textdollar(?![A-Za-z])", "¤"),
        (r"\\text\s*\{\s*([¤%])\s*\}", r"\1"),
        (r"\\(?:[dtc]|nicef?)frac(?![A-Za-z])", r"\\frac"),
        (r"\^\s*\{?\s*([0-9]+)\s*\}?\s*/\s*_\s*\{?\s*([0-9]+)\s*\}?", r"\\frac{\1}{\2}"),
        (
            r"\\(?:text(?:bf|it|rm|normal|sf|tt)|math(?:rm|bf|it|sf|tt)|operatorname\*?|[mh]box)\s*(?=\{)",
            r"\\text",
        ),
        (r"\\(?:leqslant|leqq|leq)(?![A-Za-z])", r"\\le "),
        (r"\\(?:geqslant|geqq|geq)(?![A-Za-z])", r"\\ge "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\neq(?![A-Za-z])", r"\\ne "),
        (r"\^\s*\{?\s*\\circ(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z])", r"\\degree "),
        (r"(?<!\\)\\%", "%"),
        (r"\\text\s*\{\s*%\s*\}", "%"),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\(?:[lr]?vert|mid)(?![A-Za-z])", "|"),
        (r"\\(?:varnothing|oslash)(?![A-Za-z])", r"\\emptyset "),
        (r"\\(?:ldots|dots|cdots)(?![A-Za-z])", "..."),
        (r"\\colon(?![A-Za-z])", ":"),
        (r"\\(?:bf|large|Large|huge|rm|it|therefore|underline)(?![A-Za-z])\s*", ""),
        (r"\\color\s*\{[a-zA-Z]+\}", ""),
        (r"\\overrightarrow(?![A-Za-z])", r"\\vec"),
        (r"[\[(|]\s*(?=\\begin\{array)|(?<=\\end\{array\})\s*[\])|]", ""),
        (r"\\(?:langle)(?![A-Za-z])", "("),
        (r"\\(?:rangle)(?![A-Za-z])", ")"),
        (r"\*\*([^*\n]{1,80})\*\*", r"\1"),  # bold
        (r"\*\*", "^"),
        (r"(?<=[0-9])\s?[x*]\s?(?=10\s?\^)", r"\\times "),
        (r"</?(?:br|p|b|i|em|strong|span)\s?/?>", " "),
        (r"[ ]{2,}", " "),
    )
]


def plain(text: str) -> str:
    r"""The text in ASCII and a small LaTeX, where it can be: see the head of this module.

    Letters of other scripts stay, and what is no digit stays none: `①` is not 1, `x²` is `x^{2}` and never 2.
    """
    if not text.isascii():
        text = "".join(map(_ascii, text))
        text = re.sub(r"\}\^\{(?=[-+0-9n])", "", text) if "^{" in text else text
        text = re.sub(r"\}_\{(?=[0-9])", "", text) if "_{" in text else text
    if (
        "\\" in text
        or "*" in text
        or "  " in text
        or "~" in text
        or "^" in text
        or "{,}" in text
        or "</" in text
        or "<br" in text
    ):
        for pattern, spelling in _LATEX:
            text = pattern.sub(spelling, text)
    return text.strip()


@lru_cache(maxsize=4096)
def _ascii(char: str) -> str:
    if char < "\x7f":
        return char
    if char in _PLAIN:
        return _PLAIN[char]
    if char in _RAISED:
        return f"^{{{_RAISED[char]}}}"
    if char in _LOWERED:
        return f"_{{{_LOWERED[char]}}}"
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    if "\uff01" <= char <= "\uff5e":  # the full-width forms of ASCII
        return chr(ord(char) - 0xFEE0)
    if unicodedata.decomposition(char).startswith("<fraction>"):
        top, _, bottom = unicodedata.normalize("NFKC", char).partition("⁄")
        return f"\\frac{{{top}}}{{{bottom or 1}}}"
    return char
