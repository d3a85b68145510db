"""The same training for many GPUs: a folder that `trl grpo` runs, with the source of the rewards that stand in no module."""

import ast
import functools
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from types import FunctionType, ModuleType

from grpo_lessons import rewards as shared
from grpo_lessons.answers import CheckedAnswers
from grpo_lessons.problems import save_prompts
from grpo_lessons.rewards import Reward, reward_name
from grpo_lessons.training import sources, templates
from grpo_lessons.training.plan import Plan
from grpo_lessons.training.settings import Settings
from grpo_lessons.training.sources import is_pocket
from grpo_lessons.training.warm import for_sft


def hand_over(plan: Plan, course: str | Path, name: str) -> str:
    """Write a folder `course`/`name` that runs the same training as `trl grpo`, on one device or many.

    It holds config.yaml, prompts/train.jsonl, a README.md and, for rewards that no module has under a name, rewards.py.
    Of a warm start it holds sft.yaml and examples/train.jsonl, for `trl sft`, and what that leaves is merged into the model:
    `trl grpo` begins a new adapter on top, where a lesson goes on with the one that SFT has made.

    Args:
        course: where the command is run, such as the folder that holds grpo_lessons. All paths count from there, and so do
            the modules of the rewards.
        name: of the folder in it; "." for `course` itself, whatever it is called: names with a dot are no modules.

    Returns: the command, to be run in `course`, with grpo_lessons in it or installed; with a warm start three, joined by &&.

    Example:
        >>> import tempfile
        >>> plan = Plan(Settings(batch_size=8), [shared.format_reward], [{"prompt": "What is 12 + 45 + 38?"}])
        >>> hand_over(plan, tempfile.mkdtemp(), "runs/format")
        'trl grpo --config runs/format/config.yaml'
        >>> hand_over(plan, tempfile.mkdtemp(), ".")
        'trl grpo --config config.yaml'

    Raises:
        NoModel: if the model cannot be had.
        ValueError: for a plan that cannot be trained, right answers of which none can be read, or a reward that cannot be
            written into a file. Nothing is written then.
    """
    import yaml

    course, folder, settings = Path(course), Path(name), plan.settings
    if refusal := plan.refusal:
        raise ValueError(refusal)
    (course / folder).mkdir(parents=True, exist_ok=True)
    names = _names(plan.rewards, folder, course / folder / "rewards.py")
    model = sources.find(settings.model).name
    opened = templates.opened_by(settings.model)
    save_prompts(
        [row | {"opened_thought": opened} if opened else row for row in plan.prompts], course / folder / "prompts"
    )
    if Path(model).is_relative_to(course):
        model = str(Path(model).relative_to(course))
    shared = {
        "dtype": settings.dtype,
        "use_peft": True,
        **{f"lora_{name.removeprefix('lora_')}": value for name, value in settings.lora_arguments().items()},
    }

    def write(file: str, config: dict) -> None:
        config.pop("use_cpu", None)  # the folder is for other machines
        (course / folder / file).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    first, start = "", model
    if warm := plan.warm_start:
        save_prompts(for_sft(warm.examples), course / folder / "examples")
        sft, first = {"model_name_or_path": model, "dataset_name": str(folder / "examples")} | shared, _first(folder)
        write("sft.yaml", sft | warm.sft_arguments(settings) | {"output_dir": str(folder / "sft/adapter")})
        start = str(folder / "sft/merged")
    grpo = {"model_name_or_path": start, "dataset_name": str(folder / "prompts"), "reward_funcs": names} | shared
    write("config.yaml", grpo | settings.grpo_arguments() | {"output_dir": str(folder / "trl")})
    command = f"trl grpo --config {(folder / 'config.yaml').as_posix()}"
    (course / folder / "README.md").write_text(
        _readme(folder, settings, model, names, command, plan.checked_answers, first), encoding="utf-8"
    )
    return first + command


def _first(folder: Path) -> str:
    """The commands of a warm start: SFT makes an adapter, which is merged into the model."""
    merge = f"from grpo_lessons.training.keep import merge; merge('{(folder / 'sft').as_posix()}')"
    return f'trl sft --config {(folder / "sft.yaml").as_posix()} && python -c "{merge}" && '


def _names(rewards: Sequence[Reward], folder: Path, module: Path) -> list[str]:
    """The rewards as dotted names; those that no module has under a name are written into one, `folder`.rewards."""
    names, written = [], Module()
    for number, reward in enumerate(rewards, 1):
        known = [name for name, each in vars(shared).items() if name.endswith("_reward") and each == reward]
        if known:
            names.append(f"grpo_lessons.rewards.{known[0]}")
        elif inspect.isfunction(reward) and _is_importable(reward):
            names.append(f"{reward.__module__}.{reward.__qualname__}")
        else:
            own = (
                reward.__name__ if inspect.isfunction(reward) and reward.__name__.isidentifier() else f"reward_{number}"
            )
            written.add(own, reward, reward_name(reward))
            names.append(".".join([*folder.parts, "rewards", own]))
    module.unlink(missing_ok=True)
    if written.pieces or written.imports:
        text = written.text()
        try:
            exec(compile(text, str(module), "exec"), {"__name__": "rewards"})  # the reader's own code, as it ran before
        except Exception as error:
            raise ValueError(
                f"The rewards cannot be written into a file that runs alone ({type(error).__name__}: {error}). "
                "Put what they need into the function itself, or into a module of your own."
            ) from error
        module.write_text(text, encoding="utf-8")
    return names


class Module:
    """The text of a module that holds objects of a notebook, with all that they use of it.

    >>> module = Module()
    >>> module.add("target", 40, "brief")
    >>> print(module.text().splitlines()[-1])
    target = 40
    """

    def __init__(self):
        self.imports: dict[str, str] = {}
        self.pieces: list[str] = []
        self.done: dict[str, object] = {}

    def text(self) -> str:
        """The whole module."""
        head = '"""The rewards of this training that stand in no module, as they stood in the notebook."""\n\n'
        return (
            head
            + "\n".join(sorted(self.imports.values()))
            + "\n\n" * bool(self.imports)
            + "\n\n".join(self.pieces)
            + "\n"
        )

    def add(self, name: str, value, asks: str) -> None:
        """Write down what makes `value` be there under `name`; `asks` is the reward that uses it.

        Raises: ValueError that names it, for what cannot be written down.
        """
        if name in self.done:
            if self.done[name] is not value:
                raise ValueError(f"`{asks}` uses two different things by the name `{name}`. Rename one of them.")
            return
        self.done[name] = value
        if isinstance(value, ModuleType):
            self.imports[name] = (
                f"import {value.__name__}" if value.__name__ == name else f"import {value.__name__} as {name}"
            )
        elif _is_importable(value):
            own = value.__qualname__
            self.imports[name] = f"from {_module(value)} import {own}" + (f" as {name}" if own != name else "")
        elif isinstance(value, FunctionType | type):
            self._source(value, asks)
        elif isinstance(value, functools.partial):
            self.imports["functools"] = "import functools"
            self.add(reward_name(value), value.func, asks)
            given = [*map(repr, value.args), *(f"{key}={each!r}" for key, each in value.keywords.items())]
            self.pieces.append(f"{name} = functools.partial({', '.join([reward_name(value), *given])})")
        elif isinstance(value, re.Pattern):
            self.imports["re"] = "import re"
            self.pieces.append(f"{name} = re.compile({value.pattern!r}, {value.flags})")
        elif _is_plain(value):
            self.pieces.append(f"{name} = {value!r}")
        elif repr(value).startswith(f"{type(value).__qualname__}("):  # a data class: its repr says how to make it
            self.add(type(value).__qualname__, type(value), asks)
            self.pieces.append(f"{name} = {value!r}")
        else:
            raise ValueError(
                f"The reward `{asks}` uses `{name}`, a {type(value).__name__} that only this notebook has, so the folder could "
                "not run. Make it inside the reward, or give it to the reward as a parameter."
            )

    def _source(self, value: FunctionType | type, asks: str) -> None:
        try:
            lines = textwrap.dedent(inspect.getsource(value))
            (tree,) = [each for each in ast.parse(lines).body if isinstance(each, _DEFINITIONS)]
        except (OSError, TypeError, SyntaxError, ValueError):
            raise ValueError(
                f"The source of `{getattr(value, '__name__', value)}`, which the reward `{asks}` uses, cannot be found. "
                "Write it as a function with `def` in a cell of its own."
            ) from None
        for decorator in [each for each in tree.decorator_list if ast.unparse(each).startswith("app.")]:
            tree.decorator_list.remove(decorator)  # marimo's own
        function = (
            value
            if isinstance(value, FunctionType)
            else next((each for each in vars(value).values() if isinstance(each, FunctionType)), None)
        )
        known = dict(getattr(function, "__globals__", {}))
        if isinstance(value, FunctionType) and value.__closure__:
            known |= dict(
                zip(value.__code__.co_freevars, (cell.cell_contents for cell in value.__closure__), strict=True)
            )
        inside = {
            each.id for each in ast.walk(tree) if isinstance(each, ast.Name) and not isinstance(each.ctx, ast.Load)
        }
        inside |= {each.arg for each in ast.walk(tree) if isinstance(each, ast.arg)}
        for each in ast.walk(tree):
            if isinstance(each, ast.Name) and each.id in known and each.id not in inside and each.id != tree.name:
                self.add(each.id, known[each.id], asks)
        kept = [f"@{ast.unparse(decorator)}" for decorator in tree.decorator_list]
        self.pieces.append("\n".join([*kept, *lines.rstrip().splitlines()[tree.lineno - 1 :]]))


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _is_plain(value) -> bool:
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _is_importable(value) -> bool:
    """Whether another process finds an object under its module's name: not what stands in a notebook of one's own."""
    name, module = getattr(value, "__qualname__", None), _module(value)
    if not name or not module or module == "__main__":
        return False
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        return False
    return found is value or module.startswith("notebooks.")


def _module(value) -> str:
    """Where an object can be imported from; a running notebook of the course is called by its file's name."""
    module = getattr(value, "__module__", None) or ""
    file = getattr(sys.modules.get(module), "__file__", None) if module == "__main__" else None
    if (
        file
        and Path(file).parent.name == "notebooks"
        and Path(file).stem.startswith("grpo_")
        and isinstance(value, type)
    ):
        return f"notebooks.{Path(file).stem}"
    return module


def _readme(
    folder: Path,
    settings: Settings,
    model: str,
    names: list[str],
    command: str,
    checked: CheckedAnswers | None,
    first: str,
) -> str:
    batch = settings.batch_size // settings.accumulation
    rows = [
        f"| {n} | `{command} --num_processes {n} --per_device_train_batch_size {batch // n}` |"
        for n in (2, 4, 8)
        if batch % n == 0
    ]
    theirs = f"`{sources.PRESETS.get(settings.model, settings.model)}`"
    if is_pocket(settings.model):
        theirs = "`grpo_lessons/pocket/model` of the course there"
    moved = f" On another machine name {theirs} instead." if Path(model).is_absolute() else ""
    place = "From the folder of the course, in its environment"
    if folder == Path("."):
        place = "From this folder, in the environment of the course"
    return (
        "# The training of a lesson, for `trl grpo`\n\n"
        f"{place}:\n\n"
        f"```bash\n{first.replace(' && ', chr(10))}{command}\n```\n\n"
        + (
            "`trl sft` copies the worked examples of `examples`, once and on one device; the next line merges its adapter into the model, for `trl grpo` takes no adapter to go on with: it begins a new one, from the same model as the lesson did.\n"
            if first
            else ""
        )
        + f"`config.yaml` holds every setting, `prompts` the data set; the model is `{model}`.{moved} The rewards are {', '.join(f'`{name}`' for name in names)}.\n"
        "`trl` runs on accelerate: more processes (GPUs, or CPUs) take a share of each step's completions, so that the step stays the same.\n\n"
        "| processes | command |\n| --- | --- |\n"
        + "\n".join(rows)
        + "\n\n"
        + f"One training is one draw. With other seeds, each into a folder of its own: `{command} --seed 1 --output_dir {(folder / 'trl-seed-1').as_posix()}`, then 2, 3 and 4.\n\n"
        + (f"## The right answers\n\n{checked}\n\n" if checked else "")
        + "For DeepSpeed or FSDP add `--accelerate_config zero2`, `zero3` or `fsdp2`; to sample with vLLM `--use_vllm true`, in an environment of its own (TRL 1.16 wants vLLM 0.22 to 0.31).\n"
    )
