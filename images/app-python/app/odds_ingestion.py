"""odds-ingestion: asks the provider for prices with THE_ODDS_API_KEY, and keeps them in the table `odds`."""

import sys
from urllib.parse import quote_from_bytes

from app.database import Database
from app.feed_client import FeedFailed, ask
from app.rounds import run
from shim import get_secret

SERVICE = "odds-ingestion"
_INSERT = "INSERT INTO odds (fixture, bookmaker, home_price, away_price) VALUES (%s, %s, %s, %s)"
_KEPT = 10_000


def ingest(database: Database) -> str:
    """Keep the prices of now; the oldest make room."""
    key = (get_secret("THE_ODDS_API_KEY", required=True) or "").encode("utf-8", "surrogateescape")
    games = ask(f"/v4/sports/basketball_nba/odds?apiKey={quote_from_bytes(key, safe='')}", {})
    try:
        lines = [line for game in games for line in _lines(game)]
    except (KeyError, TypeError, IndexError):
        raise FeedFailed("the feed's prices have another shape") from None
    database.add(_INSERT, lines)
    database.rows("DELETE FROM odds WHERE number <= (SELECT max(number) FROM odds) - %s", (_KEPT,))
    return f"kept {len(lines)} prices"


def _lines(game: dict[str, object]) -> list[tuple[object, ...]]:
    """Return one line a bookmaker: the game, who asks the price, the price of either side."""
    lines: list[tuple[object, ...]] = []
    for bookmaker in game["bookmakers"]:  # type: ignore[attr-defined]
        prices = {outcome["name"]: outcome["price"] for outcome in bookmaker["markets"][0]["outcomes"]}
        lines.append((game["id"], bookmaker["key"], prices[game["home_team"]], prices[game["away_team"]]))
    return lines


if __name__ == "__main__":
    sys.exit(run(SERVICE, ingest))
