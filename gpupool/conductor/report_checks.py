"""A report is checked before anything of it is written: a bad one is refused, and hurts nobody else."""

import re
from collections import Counter

from gpupool.model import errors
from gpupool.model import text as texts
from gpupool.model.report import DeviceReport, HostReport

_NAME_MAX = 255
# Far from what a database can count, and more than a host can ever come to.
_GENERATION_MAX = 2**53
# The largest amount that Placement takes.
_MIB_MAX = 2**31 - 1
_TRAIT = re.compile(rf"[A-Z0-9_]{{1,{_NAME_MAX}}}")
_ERROR_MAX = 1000


def check(report: HostReport) -> None:
    """Raise Invalid, saying what is wrong and what is allowed, unless all of ``report`` can be."""
    if not report.host.strip():
        raise errors.Invalid("host is empty; allowed: the name of the reporting host")
    for name in ("host", "hypervisor_hostname", "pool", "agent_version"):
        _check_name(name, getattr(report, name))
    _check_number("generation", report.generation, _GENERATION_MAX)
    _check_number("cpu_milli", report.cpu_milli, _MIB_MAX)
    _check_number("memory_mib", report.memory_mib, _MIB_MAX)
    twice = [key for key, times in Counter(each.key for each in report.devices).items() if times > 1]
    if twice:
        raise errors.Invalid(f"host {report.host} reports twice: device {', '.join(twice)}")
    for device in report.devices:
        _check_device(device)
    for attachment in report.attachments:
        for name, value in attachment.environment.items():
            if not texts.is_visible(name + value):
                shown = f"environment {texts.shown(name)!r} is {texts.shown(value)!r}"
                raise errors.Invalid(f"{shown}; allowed: text, {texts.ALLOWED}")


def _check_device(device: DeviceReport) -> None:
    for name in ("key", "vendor", "product", "link_group"):
        _check_name(f"device '{texts.shown(device.key)}': {name}", getattr(device, name))
    for name in ("memory_mib", "reserved_mib"):
        _check_number(f"device {device.key}: {name}", getattr(device, name), _MIB_MAX)
    for trait in device.traits:
        if not _TRAIT.fullmatch(trait):
            raise errors.Invalid(
                f"device {device.key}: trait {trait!r}; allowed: A to Z, 0 to 9 and _, up to {_NAME_MAX}"
            )


def _check_name(name: str, value: str) -> None:
    if len(value) > _NAME_MAX or not texts.is_visible(value):
        raise errors.Invalid(
            f"{name} is '{texts.shown(value)}'; allowed: up to {_NAME_MAX} characters, {texts.ALLOWED}"
        )


def _check_number(name: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise errors.Invalid(f"{name} is {value}; allowed: 0 to {largest}")


def storable(error: str) -> str:
    """Return the text of an error as it can be kept: not too long, hidden characters escaped.

    Such a report is taken, not refused: a file name may be no text, and what failed has to be known.
    """
    return texts.shown(error, _ERROR_MAX - len("..."))
