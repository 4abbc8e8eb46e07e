"""prediction-service: who is likely to win, from the prices and how they move.

GET /predictions   one line a game that is to come: the chance of either side, and where the prices drift
GET /health        names and origins of its secrets, and whether the database answers
"""

import sys
from http import HTTPStatus

from app import stopping
from app.database import Database, DatabaseFailed, open_database
from app.origins import secrets_report
from app.serving import Answer, Request, Server, failed, health_page

SERVICE = "prediction-service"
# The chance that a price implies is its inverse, shared out so that both sides make one: a bookmaker's margin goes.
_PREDICT = """
WITH newest AS (
    SELECT DISTINCT ON (fixture, bookmaker) fixture, 1 / home_price AS home, 1 / away_price AS away
    FROM odds ORDER BY fixture, bookmaker, number DESC
), moved AS (
    SELECT fixture, avg(home_change) AS drift FROM (
        SELECT *, row_number() OVER (PARTITION BY fixture ORDER BY odds DESC) AS place FROM movement) AS latest
    WHERE place <= 20 GROUP BY fixture
)
SELECT fixture.id, fixture.home, fixture.away, fixture.starts,
    round(avg(newest.home / (newest.home + newest.away)), 3), round(coalesce(min(moved.drift), 0), 4)
FROM fixture JOIN newest ON newest.fixture = fixture.id LEFT JOIN moved ON moved.fixture = fixture.id
GROUP BY fixture.id ORDER BY fixture.starts, fixture.id
"""


class Predictions:
    """What the service answers."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._secrets = secrets_report(SERVICE)

    def predictions(self, _request: Request) -> Answer:
        """Return one line a game."""
        return Answer(
            HTTPStatus.OK,
            [
                {"game": game, "home": home, "away": away, "starts": starts, "home_wins": chance, "drift": drift}
                for game, home, away, starts, chance, drift in self._database.rows(_PREDICT)
            ],
        )

    def health(self, _request: Request) -> Answer:
        """Return names and origins; 503 when the database does not answer."""
        page = health_page(SERVICE, self._secrets)
        try:
            return Answer(HTTPStatus.OK, {"status": "ok", "store": self._database.version(), **page})
        except DatabaseFailed as failure:
            return Answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "failing", "store": str(failure), **page})


def main() -> int:
    """Serve until a stop signal arrives."""
    stopping.arm()
    try:
        service = Predictions(open_database())
    except DatabaseFailed as failure:
        return failed(SERVICE, failure)
    Server(SERVICE, {"GET /predictions": service.predictions, "GET /health": service.health}).serve_until_stopped()
    return 0


if __name__ == "__main__":
    sys.exit(main())
