"""The energy that a processor or GPU uses, and whether a GPU runs as fast as it can.

Processors report through Linux's powercap (RAPL), GPUs through NVIDIA's NVML. Both count energy
from some point on, at intervals of their own; both count all that runs on the device.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from . import hardware
from .cli import log
from .hardware import Machine

POWERCAP = Path("/sys/class/powercap")
# How often the counters are brought up to date, in seconds. RAPL: Intel's Software Developer's
# Manual, volume 3B, 15.10.3 ("approximately every 1 ms"). NVML: Yang et al., "Part-time Power
# Measurements", SC 2024 (every 20 to 100 ms, by GPU).
RAPL_INTERVAL, NVML_INTERVAL = 0.001, 0.1
ENOUGH = 10  # intervals in a turn: the counter is then off by a tenth of it at most
# Bits of nvmlClocksThrottleReasons that slow a GPU down against its will.
_SLOWED = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x20: "temperature (driver)",
    0x40: "temperature (hardware)",
    0x80: "power brake",
}


@dataclass(frozen=True)
class Reading:
    """What a device says of itself at one time; None for what it does not tell.

    ``joules`` since some earlier time, ``clock`` of its multiprocessors in MHz, ``temperature`` in
    °C, ``limit`` of its power in W, and what it is ``slowed`` down by.
    """

    joules: float | None = None
    clock: int | None = None
    temperature: int | None = None
    limit: float | None = None
    slowed: tuple[str, ...] = ()


class Meter(Protocol):
    """Something that can be read: its name, and how often its counter of energy changes (s)."""

    source: str
    interval: float

    def read(self) -> Reading:
        """What the device says now."""


def meter(machine: Machine) -> Meter | None:
    """What measures ``machine``; None if nothing there may be read."""
    if machine.device == "gpu":
        return _nvml(machine)
    packages = [path for path in sorted(POWERCAP.glob("intel-rapl:*")) if path.name.count(":") == 1]
    return Rapl(packages) if packages and all(map(_readable, packages)) else None


class Rapl:
    """The processor packages in the ``folders`` of powercap (AMD's have the same names)."""

    source, interval = "RAPL, processor packages", RAPL_INTERVAL

    def __init__(self, folders: Sequence[Path]) -> None:
        self._counters = [folder / "energy_uj" for folder in folders]
        self._ranges = [_number(folder / "max_energy_range_uj") for folder in folders]
        self._last = [_number(counter) for counter in self._counters]
        self._total = 0

    def read(self) -> Reading:
        """Joules since the start. The counters overflow; it must be read every few minutes."""
        now = [_number(counter) for counter in self._counters]
        self._total += sum(
            (new - old) % (size + 1) for new, old, size in zip(now, self._last, self._ranges)
        )
        self._last = now
        return Reading(joules=self._total / 1e6)


class Nvml:
    """A GPU, by its UUID. Raises pynvml.NVMLError if the driver does not know it.

    A GPU that does not count energy (before Volta) or does not tell something else is read for the
    rest.
    """

    source, interval = "NVML, whole GPU", NVML_INTERVAL

    def __init__(self, library: Any, uuid: str) -> None:
        self._library = library
        library.nvmlInit()
        self._gpu = library.nvmlDeviceGetHandleByUUID(uuid)

    def read(self) -> Reading:
        """Energy, clock, temperature, power limit, and what slows the GPU down at this moment."""
        library = self._library
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        limit = self._ask("nvmlDeviceGetEnforcedPowerLimit")
        bits = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return Reading(
            None if millijoules is None else millijoules / 1000,
            self._ask("nvmlDeviceGetClockInfo", library.NVML_CLOCK_SM),
            self._ask("nvmlDeviceGetTemperature", library.NVML_TEMPERATURE_GPU),
            None if limit is None else limit / 1000,
            tuple(name for bit, name in _SLOWED.items() if bits & bit),
        )

    def _ask(self, name: str, *arguments) -> Any:
        try:
            return getattr(self._library, name)(self._gpu, *arguments)
        except self._library.NVMLError:
            return None


def _nvml(machine: Machine) -> Nvml | None:
    try:
        import pynvml
    except ImportError:
        log.info("note: the GPU's energy and clocks are not recorded without nvidia-ml-py")
        return None
    try:
        return Nvml(pynvml, hardware.gpus()[machine.gpu]["uuid"])
    except pynvml.NVMLError as error:
        log.info("note: the GPU's energy and clocks are not recorded: NVML says %s", error)
        return None


def _readable(folder: Path) -> bool:
    try:
        return bool(_number(folder / "max_energy_range_uj") and _number(folder / "energy_uj") >= 0)
    except (OSError, ValueError):  # since Linux 5.10 only root may read it
        return False


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


@dataclass
class Record:
    """What a ``meter`` says over the turns of one model."""

    meter: Meter
    joules: list[float | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)

    def begin(self) -> None:
        """A turn begins now."""
        self._before, self._start = self.meter.read(), time.perf_counter()

    def end(self) -> None:
        """The turn has ended."""
        took, after = time.perf_counter() - self._start, self.meter.read()
        known = self._before.joules is not None and after.joules is not None
        self.joules.append(after.joules - self._before.joules if known else None)  # type: ignore[operator]
        self.seconds.append(took)
        self.readings.append(after)

    def summary(self, images: int) -> dict[str, Any]:
        """For ``images`` in all turns: joules per image and, of a GPU, the state at their ends.

        joules_per_image is None where nothing counts them, and where a turn is too short for the
        interval at which the counter changes.
        """
        counted = [joules for joules in self.joules if joules is not None]
        long = median(self.seconds) >= ENOUGH * self.meter.interval
        whole = len(counted) == len(self.joules)
        found: dict[str, Any] = {
            "source": self.meter.source,
            "joules_per_image": sum(counted) / images if long and whole else None,
            "turn_seconds": median(self.seconds),
        }
        for name in ("clock", "temperature", "limit"):
            values = [v for v in (getattr(r, name) for r in self.readings) if v is not None]
            if values:
                found[name] = [min(values), max(values)]
        slowed = [name for reading in self.readings for name in reading.slowed]
        found["slowed"] = sorted(set(slowed))
        return found
