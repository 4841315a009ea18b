"""Tests of the removal of secrets from text."""

import pytest

from tasks.runtime.redaction import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at http://me:pw@host:5000/a", "at http://***@host:5000/a"),
        ("s3://AKIA:se+cr/et@bucket/x", "s3://***@bucket/x"),
        ("s3://AKIA:secret@bucket/x", "s3://***@bucket/x"),
        ("x?sig=1&token=abc&b=2", "x?sig=1&token=***&b=2"),
        ("X-Amz-Signature=abc X-Amz-Date=1", "X-Amz-Signature=*** X-Amz-Date=1"),
        ("column a@b of s3://bucket/x", "column a@b of s3://bucket/x"),
    ],
)
def test_secrets_of_addresses_are_removed(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("AWS_SECRET_ACCESS_KEY", True),
        ("MLFLOW_TRACKING_PASSWORD", True),
        ("RAY_AUTH_TOKEN", True),
        ("PREFECT_API_KEY", True),
        ("RAY_AUTH_TOKEN_PATH", False),
        ("HOSTNAME", False),
    ],
)
def test_secrets_of_the_environment_are_removed(
    name: str, removed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "correct-horse")
    shown = redact("the server says: correct-horse is wrong")
    assert ("correct-horse" not in shown) == removed


def test_short_values_are_left_since_other_text_has_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert redact("a test") == "a test"
