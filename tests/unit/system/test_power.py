"""Energy and clocks, from made-up counters: no machine here tells its own."""

import sys
import types

from twofour.deploy import benchmark
from twofour.report import compare
from twofour.system import hardware, power

import numpy as np
import pynvml
import pytest

CPU = hardware.Machine("cpu", "some CPU", 1)
GPU = hardware.Machine("gpu", "NVIDIA A100", 1)


def package(folder, number, microjoules, top=10_000_000):
    path = folder / f"intel-rapl:{number}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "max_energy_range_uj").write_text(f"{top}\n")
    (path / "energy_uj").write_text(f"{microjoules}\n")


class Library(types.SimpleNamespace):
    """pynvml of a GPU with these answers; None is one that it does not give."""

    NVMLError, NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = pynvml.NVMLError, 1, 0

    def __init__(self, **answers):
        super().__init__(answers=answers, opened=[])

    def nvmlInit(self):  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        self.opened.append(uuid)
        return "handle"

    def __getattr__(self, name):
        assert hasattr(pynvml, name), name  # the real one has every function that is called
        short = name.removeprefix("nvmlDeviceGet")

        def call(handle, *arguments):
            assert handle == "handle"
            answer = self.answers[short]
            if answer is None:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return answer.pop(0) if isinstance(answer, list) else answer

        return call


def answers(**changed):
    return {
        "TotalEnergyConsumption": 5000,
        "EnforcedPowerLimit": 250_000,
        "CurrentClocksThrottleReasons": 0,
        "ClockInfo": 1410,
        "Temperature": 61,
        **changed,
    }


def test_packages_are_summed_and_their_counters_may_overflow(tmp_path, monkeypatch):
    monkeypatch.setattr(power, "POWERCAP", tmp_path)
    package(tmp_path, 0, 9_000_000)
    package(tmp_path, 1, 100)
    package(tmp_path, "0:0", 1)  # the cores of a package, which it counts already
    meter = power.meter(CPU)
    assert meter.read().joules == 0
    package(tmp_path, 0, 1_000_000)
    package(tmp_path, 1, 500_100)
    assert meter.read().joules == pytest.approx(2.5, abs=1e-5)
    assert meter.read().joules == pytest.approx(2.5, abs=1e-5)


@pytest.mark.parametrize("kept", ["nothing", "no range", "no counter", "nonsense"])
def test_a_processor_that_does_not_tell_has_no_meter(tmp_path, monkeypatch, kept):
    monkeypatch.setattr(power, "POWERCAP", tmp_path)
    if kept != "nothing":
        package(tmp_path, 0, 1)
    if kept in ("no range", "no counter"):
        name = "energy_uj" if kept == "no counter" else "max_energy_range_uj"
        (tmp_path / "intel-rapl:0" / name).unlink()
    if kept == "nonsense":
        package(tmp_path, 0, "none")
    assert power.meter(CPU) is None


def test_a_gpu_is_found_by_its_uuid_and_read(monkeypatch):
    library = Library(**answers(CurrentClocksThrottleReasons=0x04 | 0x40 | 0x01))
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(hardware, "gpus", lambda: [{"uuid": "GPU-1"}])
    meter = power.meter(GPU)
    assert library.opened == ["GPU-1"]
    assert meter.read() == power.Reading(
        5.0, 1410, 61, 250.0, ("power limit", "temperature (hardware)")
    )


def test_what_a_gpu_does_not_tell_is_left_out():
    silent = dict.fromkeys(answers())
    record = power.Record(power.Nvml(Library(**silent), "GPU-1"))
    record.begin()
    record.end()
    found = record.summary(10)
    assert found["joules_per_image"] is None and found["slowed"] == []
    assert not {"clock", "temperature", "limit"} & set(found)


def test_without_the_library_or_its_driver_there_is_no_meter(monkeypatch):
    monkeypatch.setattr(hardware, "gpus", lambda: [{"uuid": "GPU-1"}])
    assert power.meter(GPU) is None  # pynvml is here, the driver is not
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert power.meter(GPU) is None


def test_the_bits_of_what_slows_a_gpu_down_are_nvmls():
    names = ("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown")
    bits = {getattr(pynvml, f"nvmlClocksThrottleReason{n}") for n in names}
    bits.add(pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown)
    assert set(power._SLOWED) == bits


class Steady:
    """A device of 50 W, whose counter changes every ``interval`` seconds."""

    source = "made up"

    def __init__(self, interval):
        self.interval = interval

    def read(self):
        return power.Reading(joules=50 * power.time.perf_counter(), clock=1000)


@pytest.mark.parametrize(("interval", "told"), [(1e-6, True), (10.0, False)])
def test_a_benchmark_has_joules_per_image_where_turns_are_long_enough(interval, told):
    predictors = {name: lambda batch: np.sort(np.arange(200_000) % 977) for name in "ab"}
    batch = np.zeros((4, 1))
    found = benchmark.synthetic(predictors, batch, warmup=0, steps=10, meter=Steady(interval))
    for name in "ab":
        said = found[name]["power"]
        if told:  # 50 W over the images of a second
            expected = 50 / found[name]["throughput_img_s"]
            assert said["joules_per_image"] == pytest.approx(expected, rel=0.9)
        else:
            assert said["joules_per_image"] is None
        assert said["clock"] == [1000, 1000]
    assert "power" not in benchmark.synthetic(predictors, batch, 0, 5)["a"]


def test_the_comparison_has_the_worst_of_each():
    library = Library(**answers(ClockInfo=[0, 1410, 0, 1200, 0, 1410]))
    record = power.Record(power.Nvml(library, "GPU-1"))
    for _ in range(3):
        record.begin()
        record.end()
    found = compare._power(record.summary(10))
    assert found["gpu_mhz"] == 1200 and found["gpu_watt_limit"] == 250
    assert found["gpu_slowed"] is None and found["gpu_celsius"] == 61
    assert np.isnan(compare._power({})["gpu_mhz"])
