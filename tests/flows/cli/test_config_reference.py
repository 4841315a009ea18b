from flows.cli import config_reference


def test_a_key_has_its_default_type_bounds_and_description() -> None:
    text = config_reference.reference()
    assert 'epochs: "auto"  # integer > 0 or auto. Maximum number of epochs' in text
    assert "max_seconds: null  # number > 0 or null. " in text
    assert "threshold: null  # number > 0 < 100 or null. " in text
    assert 'by: "hash"  # hash | time. ' in text
    assert "path: REQUIRED  # path. " in text
    assert "id: []  # list. " in text


def test_choices_of_a_section_are_commented_out() -> None:
    text = config_reference.reference()
    assert '  # family: "nade"  # nade' in text
    assert "  sequence: null  # Group rows" in text


def test_every_alternative_type_is_named_once() -> None:
    types = "integer or number or date or timestamp or null"
    assert f"min: {types}; max: {types}}}" in config_reference.reference()


def test_descriptions_are_sentences() -> None:
    lines = config_reference.reference().splitlines()
    described = [line for line in lines if ": " in line and ". " in line]
    assert len(described) > 200
    for line in described:
        assert line.endswith("."), line
