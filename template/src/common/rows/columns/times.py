"""Dates, times and durations as ISO 8601 writes them, exact to the nanosecond.

Source: ISO 8601-1:2019, sections 5.2 to 5.5. The standard library reads it from Python 3.11 on, to
the microsecond; numpy and pandas also take "now" and "13/05/2024".
"""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

DAY = 86_400
SECOND = 1_000_000_000  # in nanoseconds, as all counts here
UNITS = {"s": SECOND, "ms": 1_000_000, "us": 1_000, "ns": 1}
SET = "the clock of {} shows that time twice or never: send an offset from UTC too"
LEAST, MOST = -(2**63) + 1, 2**63 - 1  # of an int64, in which the lowest number stands for NaT

_DATE = r"(?P<year>\d{4}|[+-]\d{4,6})-(?P<month>\d\d)-(?P<day>\d\d)"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
_ZONE = r"(?P<zone>Z|[+-]\d\d(?::?\d\d(?::\d\d)?)?)"  # seconds before 1972, as Python writes them
_MOMENT = re.compile(rf"{_DATE}(?:[T ]{_CLOCK}{_ZONE}?)?", re.ASCII)
_DAY = re.compile(_DATE, re.ASCII)
_TIME = re.compile(rf"{_CLOCK}{_ZONE}?", re.ASCII)
_DURATION = re.compile(
    r"(?P<sign>[+-])?P(?=[-\dT])(?:(?P<weeks>-?\d+)W)?(?:(?P<days>-?\d+)D)?"
    r"(?:T(?=[-\d])(?:(?P<hours>-?\d+)H)?(?:(?P<minutes>-?\d+)M)?"
    r"(?:(?P<minus>-)?(?P<seconds>\d+)(?:\.(?P<fraction>\d{1,9}))?S)?)?",
    re.ASCII,
)


class Moment(NamedTuple):
    """A date and time: nanoseconds since 1970 on its own clock, and how far that is from UTC."""

    clock: int
    offset: int | None


def moment(text: str) -> Moment:
    """A date, or a date and time, with or without an offset from UTC.

    Raises:
        ValueError: the text is no such date.
    """
    found = _matched(_MOMENT, text)
    clock = _days(found) * DAY * SECOND
    if found["hour"] is None:
        return Moment(clock, None)
    return Moment(clock + _clock(found), _offset(found["zone"]))


def count(nanoseconds: int, unit: str) -> int:
    """A count of another unit.

    Raises:
        ValueError: it is no whole number, or does not fit 64 bits.
    """
    whole, rest = divmod(nanoseconds, UNITS[unit])
    if rest or not LEAST <= whole <= MOST:
        raise ValueError(f"it is finer than {unit}, or out of the range of 64 bits")
    return whole


def counter(unit: str, offset: Callable[[int], int] | None) -> Callable[[Moment], int]:
    """What counts a unit from 1970 in UTC to a moment.

    Args:
        unit: one of UNITS.
        offset: how far the clock of a moment without an offset is from UTC. It raises ValueError
            for a time that the clock shows twice, or never, because it is set then. None: it is in
            UTC.
    """

    def counted(moment: Moment) -> int:
        distance = moment.offset
        if distance is None and offset is not None:
            distance = offset(moment.clock)
        return count(moment.clock - (distance or 0), unit)

    return counted


def day(text: str) -> dt.date:
    """A date of the years 1 to 9999.

    Raises:
        ValueError: the text is no such date.
    """
    return dt.date(*map(int, _matched(_DAY, text).group("year", "month", "day")))


def datetime(moment: Moment) -> dt.datetime:
    """Python's datetime of a moment.

    Raises:
        ValueError: its year is not one of 1 to 9999, or it has nanoseconds.
    """
    zone = None
    if moment.offset is not None:
        zone = dt.timezone(timedelta(moment.offset))
    try:
        return (dt.datetime(1970, 1, 1) + timedelta(moment.clock)).replace(tzinfo=zone)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def timedelta(length: int) -> dt.timedelta:
    """Python's timedelta of nanoseconds.

    Raises:
        ValueError: they are no whole number of microseconds, or too many.
    """
    return dt.timedelta(microseconds=count(length, "us"))


def time(text: str) -> dt.time:
    """A time of a day, to the microsecond.

    Raises:
        ValueError: the text is no such time, or is finer.
    """
    found = _matched(_TIME, text)
    plain = dt.datetime(1, 1, 1) + dt.timedelta(microseconds=count(_clock(found), "us"))
    zone = None
    if found["zone"] is not None:
        zone = dt.timezone(dt.timedelta(seconds=(_offset(found["zone"]) or 0) // SECOND))
    return plain.time().replace(tzinfo=zone)


def duration(text: str) -> int:
    """A duration of weeks, days, hours, minutes and seconds, in nanoseconds.

    Years and months have no fixed length.

    Raises:
        ValueError: the text is no such duration.
    """
    found = _matched(_DURATION, text)
    weeks, days, hours, minutes, seconds = (
        int(found[name] or 0) for name in ("weeks", "days", "hours", "minutes", "seconds")
    )
    rest = seconds * SECOND + _fraction(found)
    if found["minus"]:
        rest = -rest
    total = rest + ((weeks * 7 + days) * DAY + hours * 3600 + minutes * 60) * SECOND
    if found["sign"] == "-":
        return -total
    return total


def duration_text(nanoseconds: int) -> str:
    """A duration as `duration` reads it: `-P1DT2H3M4.5S`."""
    seconds, fraction = divmod(abs(nanoseconds), SECOND)
    days, seconds = divmod(seconds, DAY)
    hours, minutes, seconds = seconds // 3600, seconds // 60 % 60, seconds % 60
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    parts = [f"{size}{name}" for size, name in ((hours, "H"), (minutes, "M")) if size]
    if seconds or digits:
        parts.append(f"{seconds}{digits}S")
    sign = "-" * (nanoseconds < 0)
    if not parts and not days:
        return "PT0S"
    return f"{sign}P{f'{days}D' * (days > 0)}{'T' * bool(parts)}{''.join(parts)}"


def nanoseconds(span: dt.timedelta) -> int:
    """A timedelta's length. pandas' has nanoseconds besides."""
    extra: int = getattr(span, "nanoseconds", 0)
    return ((span.days * DAY + span.seconds) * 1_000_000 + span.microseconds) * 1_000 + extra


def _matched(pattern: "re.Pattern[str]", text: str) -> "re.Match[str]":
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not of the form")
    return found


def _days(found: "re.Match[str]") -> int:
    """Days since 1970."""
    year, month, date = map(int, found.group("year", "month", "day"))
    if 1 <= year <= 9999:
        return dt.date(year, month, date).toordinal() - 719_163
    return int(np.datetime64(f"{year:05d}-{month:02d}-{date:02d}", "D").astype(np.int64))


def _clock(found: "re.Match[str]") -> int:
    hour, minute, second = (int(found[name] or 0) for name in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no such time of a day")
    return (hour * 3600 + minute * 60 + second) * SECOND + _fraction(found)


def _fraction(found: "re.Match[str]") -> int:
    return int((found["fraction"] or "0").ljust(9, "0"))


def _offset(zone: str | None) -> int | None:
    if zone is None:
        return None
    if zone == "Z":
        return 0
    digits = zone[1:].replace(":", "").ljust(6, "0")
    hours, minutes, seconds = int(digits[:2]), int(digits[2:4]), int(digits[4:])
    if hours > 23 or minutes > 59 or seconds > 59:
        raise ValueError("no such offset")
    size = (hours * 3600 + minutes * 60 + seconds) * SECOND
    if zone[0] == "-":
        return -size
    return size


def text_of(value: Any) -> Any:
    """A value that msgpack brought as a Python object, in the form that JSON has for it."""
    if isinstance(value, dt.timedelta):
        return duration_text(nanoseconds(value))
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return value
