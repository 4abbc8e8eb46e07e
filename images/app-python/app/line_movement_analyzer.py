"""line-movement-analyzer: compares each price with the one before, and keeps the difference in `movement`."""

import sys

from app.database import Database
from app.rounds import run

SERVICE = "line-movement-analyzer"
# What was compared before is left alone, so that a restart, or a second one at work, changes nothing.
_COMPARE = """
INSERT INTO movement (odds, fixture, bookmaker, home_change, away_change, seen)
SELECT number, fixture, bookmaker, home_price - home_before, away_price - away_before, seen
FROM (
    SELECT *, lag(home_price) OVER line AS home_before, lag(away_price) OVER line AS away_before
    FROM odds WINDOW line AS (PARTITION BY fixture, bookmaker ORDER BY number)
) AS compared
WHERE home_before IS NOT NULL
ON CONFLICT (odds) DO NOTHING RETURNING odds
"""
_FORGET = "DELETE FROM movement WHERE odds < (SELECT min(number) FROM odds)"


def analyze(database: Database) -> str:
    """Keep the movements of the prices that came in since."""
    found = database.rows(_COMPARE)
    database.rows(_FORGET)
    return f"found {len(found)} movements"


if __name__ == "__main__":
    sys.exit(run(SERVICE, analyze))
