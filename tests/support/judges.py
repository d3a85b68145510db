"""Other judges of an answer, to compare ours with."""


def math_verify_says(gold: str, reply: str) -> bool:
    """Whether math-verify takes a reply for right: the gold as it stands, in a box, or in dollars, as its page advises."""
    from math_verify import parse, verify

    return any(verify(parse(form), parse(reply)) for form in (gold, f"\\boxed{{{gold}}}", f"${gold}$"))
