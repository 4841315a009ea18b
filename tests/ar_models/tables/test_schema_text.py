import pyarrow as pa

from ar_models.tables import schema_text


def test_a_schema_is_the_same_after_a_round_trip() -> None:
    schema = pa.schema(
        [
            pa.field("a", pa.dictionary(pa.int8(), pa.string()), nullable=False),
            pa.field("b", pa.timestamp("ms", "Europe/Berlin"), metadata={"k": "v"}),
        ]
    )
    again = schema_text.from_text(schema_text.to_text(schema))
    assert again.equals(schema, check_metadata=True)
