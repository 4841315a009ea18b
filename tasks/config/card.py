"""Configuration of the model card."""

from pydantic import Field

from tasks.config.section import Section


class CardConfig(Section):
    """What only a person knows about a model, for the card of its versions."""

    description: str | None = Field(None, description="what the rows are")
    license: str | None = Field(None, description="of the model")
    limitations: str | None = Field(None, description="what it should not be used for")
