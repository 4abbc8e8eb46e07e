"""feed: takes the place of the data providers, so that the stack needs no internet; it answers anyone who has the key.

GET /v4/sports/basketball_nba/odds?apiKey=KEY   prices of two bookmakers, which drift (THE_ODDS_API_KEY)
GET /games                                      the next games, with the header x-apisports-key (API_BASKETBALL_KEY)
GET /health                                     names and origins of its secrets
"""

import hmac
import math
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from urllib.parse import parse_qs

from app import stopping
from app.origins import secrets_report
from app.serving import Answer, Request, Server, health_page
from shim import get_secret

SERVICE = "feed"
TEAMS = (("Lynx", "Herons"), ("Otters", "Badgers"), ("Kestrels", "Martens"), ("Ibexes", "Plovers"))
BOOKMAKERS = ("northbook", "southbook")
_REFUSED = Answer(HTTPStatus.UNAUTHORIZED, {"error": "this key is not known here"})


class Feed:
    """What the service answers, and to whom."""

    def __init__(self) -> None:
        self._odds_key = os.fsencode(get_secret("THE_ODDS_API_KEY", required=True) or "")
        self._games_key = os.fsencode(get_secret("API_BASKETBALL_KEY", required=True) or "")
        self._secrets = secrets_report(SERVICE)

    def odds(self, request: Request) -> Answer:
        """Return prices, by the providers' shape."""
        given = parse_qs(request.query, encoding="utf-8", errors="surrogateescape").get("apiKey", [""])[0]
        if not hmac.compare_digest(os.fsencode(given), self._odds_key):
            return _REFUSED
        return Answer(HTTPStatus.OK, [_priced(number) for number in range(len(TEAMS))])

    def games(self, request: Request) -> Answer:
        """Return the next games, by the providers' shape."""
        given = request.headers.get("x-apisports-key", "").encode("latin-1")  # as http.server reads headers
        if not hmac.compare_digest(given, self._games_key):
            return _REFUSED
        return Answer(HTTPStatus.OK, {"response": [_game(number) for number in range(len(TEAMS))]})

    def health(self, _request: Request) -> Answer:
        """Return names and origins."""
        return Answer(HTTPStatus.OK, {"status": "ok", **health_page(SERVICE, self._secrets)})


def _game(number: int) -> dict[str, object]:
    home, away = TEAMS[number]
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = midnight + timedelta(days=1 + number // 2, hours=19 + number % 2)
    teams = {"home": {"name": home}, "away": {"name": away}}
    return {"id": f"game-{number}", "date": starts.isoformat(), "teams": teams}


def _priced(number: int) -> dict[str, object]:
    home, away = TEAMS[number]
    bookmakers = []
    for place, bookmaker in enumerate(BOOKMAKERS):
        drift = 0.25 * math.sin(time.time() / 30 + number + place / 5)
        prices = ((home, 1.6 + 0.2 * number + drift), (away, 2.6 - 0.2 * number - drift))
        outcomes = [{"name": name, "price": round(price, 3)} for name, price in prices]
        bookmakers.append({"key": bookmaker, "markets": [{"key": "h2h", "outcomes": outcomes}]})
    return {"id": f"game-{number}", "home_team": home, "away_team": away, "bookmakers": bookmakers}


def main() -> int:
    """Serve until a stop signal arrives."""
    stopping.arm()
    feed = Feed()
    odds = "GET /v4/sports/basketball_nba/odds"
    Server(SERVICE, {odds: feed.odds, "GET /games": feed.games, "GET /health": feed.health}).serve_until_stopped()
    return 0


if __name__ == "__main__":
    sys.exit(main())
