"""The corpus of the pocket model: sums answered in mixed styles, and short texts on a topic.

Plain Python, so that the notebooks can show samples of it in a browser as well. The mix of styles is
deliberate: reinforcement can only strengthen what a model already does now and then, so every behaviour
that a lesson rewards (thinking first, the strict format, a certain length) occurs here in some replies.
"""

import random
import re
from functools import lru_cache

from grpo_lessons.problems import TOPICS, sums, worked_out
from grpo_lessons.text import completion_text

# How a sum is answered: (share, template). {thought} is the worked sum, {terms} the question, {total} its answer.
# A third of the replies think first; one in six has the strict format. An empty thought is in the mix
# because real models produce them and because a reward that only counts tags pays for them.
STYLES = [
    (0.16, "<think>{thought}</think>{space}<answer>{total}</answer>"),
    (0.09, "<think>{thought}</think>{space}The answer is {total}."),
    (0.05, "<think>{thought}</think>{space}{total}"),
    (0.02, "<think>{thought}</think>{space}<answer>{total}"),
    (0.02, "<think>{thought}</think>{space}\\boxed{{{total}}}"),
    (0.15, "{total}"),
    (0.16, "The answer is {total}."),
    (0.09, "{terms} = {total}"),
    (0.12, "<answer>{total}</answer>"),
    (0.05, "<think></think>{space}<answer>{total}</answer>"),
    (0.05, "#### {total}"),
    (0.04, "\\boxed{{{total}}}"),
]

CAREFUL = [(share, style) for share, style in STYLES if "{thought}" in style]

# What can be said of a topic, by kind. Short words on purpose: most become a single token.
WORDS = {
    "place": {
        "adjective": "wide quiet old green cold bright deep wild far calm dark busy".split(),
        "does": "waits for the morning|changes with the light|is full of small sounds|never looks the same twice|"
        "smells of salt and wood|lies under a grey sky|is home to many birds".split("|"),
        "we": "walk through|look at|dream of|come back to|remember|draw|know".split("|"),
    },
    "sky": {
        "adjective": "soft bright cold heavy gentle grey silver warm sudden clear slow strong".split(),
        "does": "comes over the hills|moves across the fields|touches every roof|fades before noon|"
        "makes the streets shine|wakes the birds|returns at night".split("|"),
        "we": "wait for|listen to|look at|talk about|hope for|hide from|love".split("|"),
    },
    "animal": {
        "adjective": "small clever shy quick old brave hungry gentle loud proud tired young".split(),
        "does": "sleeps near the door|runs through the grass|waits without a sound|looks for food|"
        "hides under the trees|watches the road|comes home at night".split("|"),
        "we": "feed|watch|follow|draw|look for|talk to|love".split("|"),
    },
    "thing": {
        "adjective": "old small heavy simple useful new warm broken strange good plain fine".split(),
        "does": "stands by the window|belongs to my sister|works well every day|was made by hand|"
        "tells a long story|has seen many years|waits on the table".split("|"),
        "we": "use|keep|clean|share|look at|carry|need".split("|"),
    },
}
WHO = "The children|Many people|My friends|Old sailors|Two sisters|The farmers|We all|I often|You can".split("|")
WHEN = "In the morning|At night|In winter|After the rain|On a quiet day|In summer|Long ago|Today".split("|")


def sum_reply(question: str, rng: random.Random, styles: list = STYLES) -> str:
    """One reply to a question of `problems.sums`, in a style drawn with the shares of `styles`.

    >>> sum_reply("What is 12 + 45 + 38?", random.Random(3))
    '<think>12 + 45 = 57. 57 + 38 = 95.</think>The answer is 95.'
    """
    style = rng.choices([text for _, text in styles], [share for share, _ in styles])[0]
    return worked_out(question, style, space=rng.choice(["", "\n"]))


def sentence(topic: str, rng: random.Random) -> str:
    """One plain sentence about a topic of `problems.TOPICS`."""
    words = WORDS[TOPICS[topic]]
    first, second = rng.sample(words["adjective"], 2)
    does, we = rng.choice(words["does"]), rng.choice(words["we"])
    who, when = rng.choice(WHO), rng.choice(WHEN)
    return rng.choice(
        [
            f"The {topic} is {first}.",
            f"The {topic} is {first} and {second}.",
            f"The {first} {topic} {does}.",
            f"{when} the {topic} {does}.",
            f"{who} {we} the {topic}.",
            f"{when}, {who[0].lower() + who[1:] if who[0] != 'I' else who} {we} the {first} {topic}.",
            f"It is {first}, and it {does}.",
            f"{first.capitalize()} and {second}, it {does}.",
        ]
    )


def text_reply(topic: str, rng: random.Random) -> str:
    """A few words, or one to nine sentences, on a topic: lengths vary widely, so that a length reward has a choice."""
    if rng.random() < 0.12:
        first, second = rng.sample(WORDS[TOPICS[topic]]["adjective"], 2)
        return rng.choice([f"{first.capitalize()}.", f"{first.capitalize()} and {second}."])
    count = min(9, 1 + int(rng.expovariate(0.45)))
    return " ".join(sentence(topic, rng) for _ in range(count))


def posts(n: int, seed: int = 0) -> list[dict]:
    """`n` texts to be summarised, of three to five sentences on one topic, as conversational prompts.

    >>> posts(1, seed=2)[0]["prompt"][0]["content"][:32]
    'Summarise: My friends need the w'
    """
    rng = random.Random(seed)
    topics = [rng.choice(list(TOPICS)) for _ in range(n)]
    asked = [" ".join(sentence(topic, rng) for _ in range(rng.randint(3, 5))) for topic in topics]
    return [{"prompt": [{"role": "user", "content": f"Summarise: {text}"}]} for text in asked]


def conversations(n: int, seed: int, styles: list = STYLES) -> list[tuple[str, str]]:
    """`n` pairs (user message, assistant reply): sums of three numbers (55 %) and of two (12 %), texts (33 %).

    The sums are training sums only. The texts cover every topic, those that `problems.texts` holds out as well:
    a model has to know a word before it can be asked to write about it.
    """
    rng = random.Random(seed)
    questions = {
        "three": [row["prompt"][0]["content"] for row in sums(min(n, 180_000), seed=seed)],
        "two": [row["prompt"][0]["content"] for row in sums(1500, seed=seed, terms=2)],
        "text": [f"Write about the {topic}." for topic in TOPICS],
    }
    pairs = []
    for i, kind in enumerate(rng.choices(("three", "two", "text"), (0.55, 0.12, 0.33), k=n)):
        question = questions[kind][i % len(questions[kind])]
        reply = text_reply(question[16:-1], rng) if kind == "text" else sum_reply(question, rng, styles)
        pairs.append((question, reply))
    return pairs


def curriculum(n: int, seed: int) -> list[tuple[str, str]]:
    """`n` conversations in the order of the pre-training: three quarters mostly careful, the last quarter in mixed styles.

    Four sums of five in the first part are worked out in a thought, so that the model learns to add step by step before
    it learns to answer at once. Taught in mixed styles from the beginning, a model of this size ends up adding three
    numbers at once (88 % right after 1,370 steps), and a thought would be of no use to it.
    """
    mixed = n // 4
    first = conversations(n * 3 // 5, seed, CAREFUL) + conversations(n - mixed - n * 3 // 5, seed + 1)
    random.Random(seed).shuffle(first)
    return first + conversations(mixed, seed + 2)


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """The words of the corpus's texts, in lower case.

    >>> "harbour" in vocabulary(), "harbfore" in vocabulary()
    (True, False)
    """
    rng = random.Random(0)
    return frozenset(word for topic in TOPICS for _ in range(100) for word in _words(sentence(topic, rng)))


def vocabulary_reward(completions: list, **kwargs) -> list[float]:
    """The share of a completion's words that are words of the corpus; 0.0 without words. It looks at nothing else.

    >>> vocabulary_reward(["The sea is wide.", "The sefore ais wide.", "..."])
    [1.0, 0.5, 0.0]
    """
    words = [_words(completion_text(completion)) for completion in completions]
    return [sum(word in vocabulary() for word in each) / len(each) if each else 0.0 for each in words]


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
