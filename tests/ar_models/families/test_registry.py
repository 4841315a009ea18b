"""Families by name, and the models that are built from a name."""

import pytest
import torch

from ar_models.families.ensemble import Ensemble
from ar_models.families.registry import MODELS, build, family_name
from ar_models.families.settings import SETTINGS
from ar_models.variables import binary_variables

IMAGE = {"pixelcnn": {"height": 1, "width": 3}}
"""Settings that the data determine, for three variables."""

every_family = pytest.mark.parametrize("family", MODELS)


def test_every_family_has_the_settings_of_its_name() -> None:
    assert {name: model.Settings for name, model in MODELS.items()} == SETTINGS


@every_family
def test_a_model_is_built_from_its_name_and_rebuilt_from_its_config(
    family: str,
) -> None:
    model = build(family, binary_variables(3), **IMAGE.get(family, {}))
    assert family_name(model) == family

    again = build(family, binary_variables(3), **model.config())

    assert again.settings == model.settings
    again.load_state_dict(model.state_dict())


def test_an_ensemble_has_a_seed_per_member() -> None:
    model = build("made", binary_variables(3), ensemble=3, seed=5, hidden=4)
    assert isinstance(model, Ensemble)
    seeds = [model.member(k)[0].config()["seed"] for k in range(3)]
    assert seeds == [5, 6, 7]
    assert family_name(model) == "made"


def test_equal_seeds_of_torch_give_equal_weights() -> None:
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(build("nade", binary_variables(3), hidden=4))
    weights = [torch.cat([p.flatten() for p in m.parameters()]) for m in models]
    assert torch.equal(*weights)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'kernels'"):
        build("made", binary_variables(3), kernels=3)
