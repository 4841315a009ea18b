"""JSON objects sent to a URL."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 10.0
"""Seconds that a receiver has to answer."""

ATTEMPTS = 3
"""Number of attempts to reach a receiver."""

PAUSE_SECONDS = 1.0
"""Seconds before the second attempt; each further pause is twice as long."""


def post(url: str, content: Mapping[str, Any], pause: float = PAUSE_SECONDS) -> None:
    """Send a JSON object by POST.

    Repeated are attempts that end without an answer, or with a status of 500 or above
    or 429 (too many requests).

    Args:
        url: An http or https URL.
        content: The object.
        pause: Seconds before the second attempt.

    Raises:
        ConnectionError: The receiver did not accept it.
    """
    body = json.dumps(content).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "chainrule"}
    request = urllib.request.Request(url, body, headers)
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            reason = f"answered with status {error.code} ({error.reason})"
            if error.code < 500 and error.code != 429:
                break
        except OSError as error:
            reason = f"cannot be reached ({getattr(error, 'reason', error)})"
        if attempt + 1 < ATTEMPTS:
            time.sleep(pause * 2**attempt)
    # The path of a URL may be a secret, as of Slack.
    parts = urlsplit(url)
    place = f"{parts.scheme}://{parts.hostname}"
    place += f":{parts.port}" if parts.port else ""
    raise ConnectionError(f"{place} {reason}; check the URL and the receiver")
