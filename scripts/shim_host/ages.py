"""Ages and periods, in days."""

from datetime import UTC, datetime

SECONDS_A_DAY = 86400
_UNITS = {"h": 1 / 24, "d": 1.0, "w": 7.0, "m": 30.0, "y": 365.0}  # days, as `list` counts them


def days_of(age: str) -> float:
    """Return the days of an age as `@rotate` writes it (90d, 12h, 1y)."""
    return int(age[:-1]) * _UNITS[age[-1]]


def age_days(created: str, now: datetime) -> float:
    """Return how many days ago *created* (ISO 8601) was; 0 when it says nothing."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return 0
    return max(0.0, (now - then.replace(tzinfo=then.tzinfo or UTC)).total_seconds() / SECONDS_A_DAY)


def due(left_days: float) -> str:
    """Return what a table says about a rotation that is due in *left_days*; negative when it is late."""
    size = abs(left_days)
    text = f"{size:.0f} d" if size >= 1 else f"{size * 24:.0f} h"
    return text if left_days >= 0 else f"late by {text}"


def shown(days: float) -> str:
    """Return a number of days in words; what is less than two is said in hours."""
    number, unit = (round(days * 24), "hour") if days < 2 else (round(days), "day")
    return f"{number} {unit}{'' if number == 1 else 's'}"
