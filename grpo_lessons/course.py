"""The lessons of the course, in their order: their names, titles and questions, for every door that leads to them."""

from typing import NamedTuple

MINUTES = 45  # of one lesson


class Lesson(NamedTuple):
    """A lesson: its title, and the question that it answers."""

    title: str
    question: str


LESSONS = {
    "length": Lesson(
        "Teach a model a length", "How does a model learn from a number alone, and what does the number not see?"
    ),
    "format": Lesson("Teach a model a format", "How does a number per reply teach a format? When does it not?"),
    "math": Lesson("Reward the answer", "If only the answer is rewarded, what happens to thinking?"),
}
# The notebook behind the lessons: for a machine of one's own, as it runs code and reads files of the reader's.
OWN = Lesson("Your own", "A reward, data and a model of yours: will it teach, and if not, why not?")
NOTEBOOKS = LESSONS | {"own": OWN}
