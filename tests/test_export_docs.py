"""The recipes of docs/export.md run as they stand."""

import re

import pytest
from conftest import ROOT

RECIPES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.S)


def test_there_are_recipes():
    assert len(RECIPES) == 6


@pytest.mark.filterwarnings("ignore")  # Of torch's own deprecated parts.
@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_a_recipe(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(RECIPES[number], f"recipe {number}", "exec"), {"__name__": "recipe"})
