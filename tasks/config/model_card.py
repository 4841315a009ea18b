"""Configuration of the model card."""

from tasks.config.section import Section


class ModelCardConfig(Section):
    """Statements for the model card that cannot be derived from the data."""

    description: str | None = None
    """What a row of the dataset represents."""

    license: str | None = None
    """License of the model."""

    limitations: str | None = None
    """What the model should not be used for."""
