"""Asks a data provider for JSON; its key goes out in a header or the query, and into no message."""

import http.client
import json
import os
import urllib.error
import urllib.request
from typing import Any

_TIMEOUT_SECONDS = 5


class FeedFailed(Exception):
    """The provider does not answer, or refuses. The words hold no address: that may hold the key."""


def ask(path: str, headers: dict[str, str]) -> Any:
    """Return the JSON that FEED_URL gives for *path*.

    Raises:
        FeedFailed: it does not answer, refuses, or answers something else.
    """
    address = os.environ.get("FEED_URL", "http://feed:8090") + path
    request = urllib.request.Request(address, headers=headers)  # noqa: S310  (the operator's own address)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise FeedFailed(f"the feed answers {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        raise FeedFailed(f"the feed does not answer ({type(error).__name__})") from None
    except ValueError:
        raise FeedFailed("the feed's answer is not JSON") from None
