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
