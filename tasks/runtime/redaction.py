"""Secrets, removed from whatever people read: messages, logs, params, pages."""

import os
import re

HIDDEN = "***"
"""Text that stands in place of a secret."""

USER_INFO = re.compile(r"(?<=://)([^/\s@'\"]+|[^/\s@'\"]*:[^\s@'\"]+)(?=@)")
"""User name and password of a URL."""

QUERY = re.compile(
    r"(?i)((?:secret|token|passw(?:or)?d|signature|credential|api_?key|access_key)"
    r"[\w-]*=)[^&\s'\"]+"
)
"""Value of a secret in the query of a URL or in a list of options."""

NAMES = re.compile(r"(?i)secret|passw(or)?d|token|api_?key|access_key|credential")
"""Names of environment variables whose values are secrets."""

NOT_SECRET = re.compile(r"(?i)(_PATH|_FILE|_MODE|_URI|_URL|_DIR)$")
"""Names of environment variables that only say where a secret is."""

MIN_LENGTH = 8
"""Characters of the shortest value of an environment variable that is replaced; shorter
ones, such as "true", occur in other text, too."""


def redact(text: str) -> str:
    """Return a text without user names, passwords, tokens and keys.

    Those in URLs, and those that are values of environment variables.
    """
    for secret in secret_values():
        text = text.replace(secret, HIDDEN)
    text = USER_INFO.sub(HIDDEN, text)
    return QUERY.sub(rf"\g<1>{HIDDEN}", text)


def secret_values() -> list[str]:
    """Return the secrets among the values of environment variables, longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if NAMES.search(name)
        and not NOT_SECRET.search(name)
        and len(value) >= MIN_LENGTH
    }
    return sorted(found, key=len, reverse=True)
