"""schedule-poller: asks the provider for games with API_BASKETBALL_KEY, and keeps them in the table `fixture`."""

import sys

from app.database import Database
from app.feed_client import FeedFailed, ask
from app.rounds import run
from shim import get_secret

SERVICE = "schedule-poller"
_UPSERT = (
    "INSERT INTO fixture (id, home, away, starts) VALUES (%s, %s, %s, %s) ON CONFLICT (id) "
    "DO UPDATE SET home = excluded.home, away = excluded.away, starts = excluded.starts"
)


def poll(database: Database) -> str:
    """Keep the games that are to come."""
    key = get_secret("API_BASKETBALL_KEY", required=True) or ""
    # A header's bytes, as http.client writes them.
    games = ask("/games", {"x-apisports-key": key.encode("utf-8", "surrogateescape").decode("latin-1")})
    try:
        lines: list[tuple[object, ...]] = [
            (game["id"], game["teams"]["home"]["name"], game["teams"]["away"]["name"], game["date"])
            for game in games["response"]
        ]
    except (KeyError, TypeError):
        raise FeedFailed("the feed's games have another shape") from None
    database.add(_UPSERT, lines)
    return f"kept {len(lines)} games"


if __name__ == "__main__":
    sys.exit(run(SERVICE, poll))
