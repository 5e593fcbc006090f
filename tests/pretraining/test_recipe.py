"""Recipes are found by file name or by module:attribute; options are read as JSON or text."""

from __future__ import annotations

import pytest

from pretraining.toy_recipe import ToyRecipe
from statformer.pretraining import find_recipes, get_recipe, parse_options


@pytest.mark.parametrize("name", find_recipes())
def test_every_recipe_of_the_folder_is_whole(name):
    recipe = get_recipe(name)
    assert recipe.name == name
    assert recipe.batch_size >= 1
    assert recipe.eval_every >= 1
    rates = [recipe.learning_rate(step, 100) for step in range(100)]
    assert all(rate >= 0 for rate in rates)
    assert max(rates) > 0
    assert isinstance(recipe.settings(), dict)


def test_the_folder_has_the_shipped_recipe():
    assert "mixture" in find_recipes()


def test_a_recipe_is_found_by_path():
    assert get_recipe("pretraining.toy_recipe:recipe", width=3) == ToyRecipe(width=3)
    assert get_recipe("pretraining.toy_recipe:ToyRecipe") == ToyRecipe()


def test_errors():
    with pytest.raises(ValueError, match=r"no recipe 'nope'; known are .*mixture"):
        get_recipe("nope")
    with pytest.raises(ValueError, match="has no attribute 'absent'"):
        get_recipe("pretraining.toy_recipe:absent")
    with pytest.raises(ValueError, match="unexpected keyword argument 'colour'"):
        get_recipe("pretraining.toy_recipe:recipe", colour=3)
    with pytest.raises(ValueError, match=r"option 'size 3': write key=value"):
        parse_options(["size 3"])


def test_options_are_json_where_they_can_be():
    given = ["n=3", "x=0.5", "without=outliers", 'names=["a"]', "on=true", "text=a=b"]
    expected = {
        "n": 3,
        "x": 0.5,
        "without": "outliers",
        "names": ["a"],
        "on": True,
        "text": "a=b",
    }
    assert parse_options(given) == expected
