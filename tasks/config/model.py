"""Configuration of the model families, derived from their settings in `ar_models`."""

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

from pydantic import Discriminator, Field, PositiveInt, Tag, TypeAdapter, create_model

from ar_models.families.settings import (
    SETTINGS,
    FamilySettings,
    FeedForwardSettings,
    MADESettings,
    NADESettings,
)
from tasks.config.section import AUTO, Auto, Section

OrderingName = (
    Literal["auto", "natural", "random", "dependence", "raster", "column", "spiral"]
    | tuple[str, ...]
)
"""An ordering of columns: chosen by their kinds, as in the data, shuffled, along the
dependences in the train rows, or starting with the named columns. For the pixels of
images also row by row, column by column, or from the rim to the middle."""

AUTOMATIC = ("hidden", "dropout")
"""Settings of the families in `DENSE` that are `auto` by default."""

ORDERED = (MADESettings, NADESettings)
"""Settings of the families whose ordering is `auto` by default."""

DENSE = (FeedForwardSettings, NADESettings)
"""Settings of the families whose size `auto` can choose."""


class ModelConfig(Section):
    """Settings of one model family; which keys there are depends on `family`."""

    family: str
    ensemble: PositiveInt = 1
    """Number of networks that are trained side by side and averaged; more give better
    densities at a multiple of the cost."""

    def settings(self) -> dict[str, Any]:  # JSON values of several types
        """Return the settings of the family by name, without family and ensemble."""
        return self.model_dump(mode="json", exclude={"family", "ensemble"})


def section_class(family: str, settings: type[FamilySettings]) -> type[ModelConfig]:
    """Return the configuration section of a family.

    Args:
        family: Name of the family.
        settings: Class of its settings. Those that the data determine are not keys.
    """
    keys: dict[str, Any] = {"family": (Literal[family], family)}
    # Settings that the family shares with others come after its own.
    own = settings.__annotations__
    for each in sorted(fields(settings), key=lambda each: each.name not in own):
        metadata = dict(each.metadata)
        if metadata.pop("from_data", False):
            continue
        default = ... if each.default is MISSING else each.default
        kind = OrderingName if each.name == "ordering" else each.type
        if each.name in AUTOMATIC and issubclass(settings, DENSE):
            description = f"{metadata.pop('description')}; auto: by rows and columns"
            kind = Annotated[kind, Field(**metadata)] | Auto
            default, metadata = AUTO, {"description": description}
        if each.name == "ordering" and issubclass(settings, ORDERED):
            default = AUTO
            metadata["description"] += "; auto: categories first, several at random"
        text = metadata["description"]
        metadata["description"] = f"{text[0].upper()}{text[1:]}."
        keys[each.name] = (kind, Field(default, **metadata))
    name = settings.__name__.replace("Settings", "Config")
    return create_model(name, __base__=ModelConfig, __doc__=settings.__doc__, **keys)


SECTIONS = {
    family: section_class(family, settings)
    for family, settings in SETTINGS.items()
    if family != "independent"
}
"""The configuration section of each family; independent columns are only a baseline."""


def _family(model: Any) -> Any:  # a mapping from YAML or a form, or a section
    if isinstance(model, dict | Section):
        return dict(model).get("family", "made")
    return None


if TYPE_CHECKING:
    AnyModelConfig = ModelConfig
else:
    AnyModelConfig = Annotated[
        Union[  # noqa: UP007 # of a number of types that is not known here
            tuple(
                Annotated[section, Tag(family)] for family, section in SECTIONS.items()
            )
        ],
        Discriminator(_family),
    ]
    """The section of any family, told apart by `family`, which is made by default."""


def model_config(**keys: Any) -> ModelConfig:  # values of several types
    """Return the checked section `model` with these keys; the default family is made.

    Raises:
        pydantic.ValidationError: A key is unknown, or a value is out of bounds.
    """
    section: ModelConfig = TypeAdapter(AnyModelConfig).validate_python(keys)
    return section
