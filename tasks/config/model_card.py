"""Configuration of the model card."""

from tasks.config.section import Section


class ModelCardConfig(Section):
    """Statements for the model card that cannot be derived from the data."""

    description: str | None = None
    """Meaning of a row of the dataset, such as one order."""

    license: str | None = None
    """License of the model."""

    limitations: str | None = None
    """Uses for which the model is not suitable."""
