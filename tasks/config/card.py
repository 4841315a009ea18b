"""Configuration of the model card."""

from pydantic import Field

from tasks.config.section import Section


class CardConfig(Section):
    """What only a person knows about a model, for the card of its versions."""

    description: str | None = Field(None, description="what the rows are")
    licence: str | None = Field(None, description="of the model")
    limits: str | None = Field(None, description="what it should not be used for")
