"""Configuration of the model card."""

from pydantic import Field

from tasks.config.section import Section


class ModelCardConfig(Section):
    """Statements for the model card that cannot be derived from the data."""

    description: str | None = Field(
        None, description="What a row of the dataset represents."
    )
    license: str | None = Field(None, description="License of the model.")
    limitations: str | None = Field(
        None, description="What the model should not be used for."
    )
