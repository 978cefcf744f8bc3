"""A report is checked before anything of it is written: a bad one is refused, and hurts nobody else.

A host may say what it likes of itself; no value may be more than a host can have, or than database and
Placement can keep, and none may name what is another host's.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from posixpath import isabs, normpath
from typing import Any

from gpupool.model import errors
from gpupool.model import text as texts
from gpupool.model.attachment import Attachment, cdi_device
from gpupool.model.host import NAME_ALLOWED, is_name
from gpupool.model.report import (
    LISTS_MAX,
    AttachmentReport,
    DeviceReport,
    HostReport,
    SessionReport,
    VgpuReport,
)
from gpupool.placement import names

_NAME_MAX = 255
_ID_MAX = 36
# Placement's own limit on names of providers.
_PROVIDER_NAME_MAX = 200
_COUNT_MAX = 2**63 - 1
# 16 TiB of a device, 128 TiB and 100,000 cores of a host: more than any has, and small enough that sums
# over all hosts fit.
_DEVICE_MIB_MAX = 2**24
_HOST_MIB_MAX = 2**27
_CPU_MILLI_MAX = 10**8
_PID_MAX = 2**31 - 1
# Devices that are remembered of a host, those too that it lists no more.
_REMEMBERED_MAX = 2 * LISTS_MAX["devices"]
_TRAITS_MAX = 64
_TRAIT = re.compile(rf"[A-Z0-9_]{{1,{_NAME_MAX}}}")
_ERROR_MAX = 1000
# What a host may say of a program's environment, and `openstack gpu run` sets; all name one path.
_PATHS = frozenset({"GPUPOOL_SOCKET", "LD_LIBRARY_PATH"})
# Agents of a version without keys report it back; others leave it to the conductor.
_TICKET = "GPUPOOL_TICKET"
# A path's, on Linux.
_PATH_MAX = 4096


def check_sizes(report: Mapping[str, Any]) -> None:
    """Raise Invalid when a report, as it came, lists more than it may: before it costs more."""
    for name, most in LISTS_MAX.items():
        given = report.get(name, ())
        if isinstance(given, Collection) and len(given) > most:
            raise errors.Invalid(f"{name} are {len(given)}; allowed: at most {most}")


def check_remembered(host: str, known: Collection[str], listed: Collection[str]) -> None:
    """Raise Invalid when a host lists so many new devices that too many have to be remembered.

    ``known`` are the keys of those in the database, ``listed`` those of a report.
    """
    every = {*known, *listed}
    if len(every) > max(_REMEMBERED_MAX, len(known)):
        raise errors.Invalid(
            f"host {host} would have {len(every)} devices, {len(every) - len(listed)} of them missing; "
            f"allowed: at most {_REMEMBERED_MAX}; forget those: openstack gpu device delete"
        )


def check(report: HostReport, most_memory_mib: int) -> None:
    """Raise Invalid, saying what is wrong and what is allowed, unless all of ``report`` can be.

    ``most_memory_mib`` is how much memory a device may have.
    """
    if not is_name(report.host):
        raise errors.Invalid(f"host is '{texts.shown(report.host)}'; allowed: {NAME_ALLOWED}")
    for name in ("hypervisor_hostname", "pool", "agent_version"):
        _check_text(name, getattr(report, name), _NAME_MAX)
    _check_number("generation", report.generation, _COUNT_MAX)
    _check_number("cpu_milli", report.cpu_milli, _CPU_MILLI_MAX)
    _check_number("memory_mib", report.memory_mib, _HOST_MIB_MAX)
    _check_once("device", (each.key for each in report.devices))
    for name in ("vgpus", "attachments", "sessions"):
        _check_once(name, (each.id for each in getattr(report, name)))
    for device in report.devices:
        _check_device(report.host, device)
        _check_number(f"device {device.key}: memory_mib", device.memory_mib, most_memory_mib)
    for vgpu in report.vgpus:
        _check_vgpu(vgpu)
    for attachment in report.attachments:
        _check_attachment(attachment)
    for session in report.sessions:
        _check_session(session)


def _check_device(host: str, device: DeviceReport) -> None:
    key = texts.shown(device.key)
    for name in ("key", "vendor", "product", "link_group"):
        _check_text(f"device '{key}': {name}", getattr(device, name), _NAME_MAX)
    # The last colon of a provider's name parts host and key: no two devices have the same name, or id.
    if not device.key or ":" in device.key:
        raise errors.Invalid(f"device '{key}': key; allowed: at least one character, none of them ':'")
    if len(names.provider_name(host, device.key)) > _PROVIDER_NAME_MAX:
        most = _PROVIDER_NAME_MAX - len(names.provider_name("", ""))
        raise errors.Invalid(f"device '{key}': host and key are too long; allowed: {most} together")
    for name in ("memory_mib", "reserved_mib"):
        _check_number(f"device {key}: {name}", getattr(device, name), _DEVICE_MIB_MAX)
    _check_count(f"device {key}: traits", device.traits, _TRAITS_MAX)
    for trait in device.traits:
        if not _TRAIT.fullmatch(trait):
            raise errors.Invalid(
                f"device {key}: trait '{texts.shown(trait)}'; "
                f"allowed: A to Z, 0 to 9 and _, up to {_NAME_MAX}"
            )
        if names.pool_of(trait):
            raise errors.Invalid(f"device {key}: trait {trait}; not allowed: it names a pool")


def _check_vgpu(vgpu: VgpuReport) -> None:
    _check_text("vGPU", vgpu.id, _ID_MAX)
    for name in ("generation", "memory_used_mib", "busy_ns"):
        _check_number(f"vGPU {vgpu.id}: {name}", getattr(vgpu, name), _COUNT_MAX)


def _check_attachment(attachment: AttachmentReport) -> None:
    _check_text("attachment", attachment.id, _ID_MAX)
    what = f"attachment {attachment.id}"
    _check_number(f"{what}: generation", attachment.generation, _COUNT_MAX)
    if attachment.cdi_device not in (None, cdi_device(attachment.id)):
        given = texts.shown(attachment.cdi_device or "")
        raise errors.Invalid(f"{what}: cdi_device is '{given}'; allowed: {cdi_device(attachment.id)}")
    for name, value in attachment.environment.items():
        _check_variable(what, name, value)


def _check_variable(what: str, name: str, value: str) -> None:
    """Raise Invalid for what no agent has a program given: whoever runs it trusts the answer."""
    if name == _TICKET:
        return
    if name not in _PATHS:
        allowed = ", ".join(sorted({*_PATHS, _TICKET}))
        raise errors.Invalid(f"{what}: environment has '{texts.shown(name)}'; allowed: {allowed}")
    one = ":" not in value and isabs(value) and normpath(value) == value
    if not one or len(value) > _PATH_MAX or not texts.is_visible(value):
        raise errors.Invalid(
            f"{what}: environment {name} is '{texts.shown(value)}'; allowed: one absolute path"
        )


def environment(attachment: Attachment, report: AttachmentReport) -> dict[str, str]:
    """Return what the attachment's programs need, of what a checked report says and its own ticket."""
    said = {name: value for name, value in report.environment.items() if name != _TICKET}
    return {**said, _TICKET: attachment.ticket} if said else {}


def _check_session(session: SessionReport) -> None:
    for name in ("id", "attachment_id", "vgpu_id"):
        _check_text(f"session: {name}", getattr(session, name), _ID_MAX)
    for name in ("program_pid", "worker_pid"):
        _check_number(f"session {session.id}: {name}", getattr(session, name), _PID_MAX)
    _check_number(f"session {session.id}: memory_used_mib", session.memory_used_mib, _DEVICE_MIB_MAX)
    _check_number(f"session {session.id}: busy_ns", session.busy_ns, _COUNT_MAX)
    if session.started_at.tzinfo is not None:
        raise errors.Invalid(f"session {session.id}: started_at names a zone; allowed: UTC without one")


def _check_once(what: str, given: Iterable[str]) -> None:
    twice = [name for name, times in Counter(given).items() if times > 1]
    if twice:
        raise errors.Invalid(f"the host reports twice: {what} {texts.shown(', '.join(twice))}")


def _check_count(what: str, given: Collection[object], most: int) -> None:
    if len(given) > most:
        raise errors.Invalid(f"{what} are {len(given)}; allowed: at most {most}")


def _check_text(name: str, value: str, longest: int) -> None:
    if len(value) > longest or not texts.is_visible(value):
        raise errors.Invalid(
            f"{texts.escaped(name)} is '{texts.shown(value)}'; "
            f"allowed: up to {longest} characters, {texts.ALLOWED}"
        )


def _check_number(name: str, value: int, largest: int) -> None:
    if not 0 <= value <= largest:
        raise errors.Invalid(f"{name} is {value}; allowed: 0 to {largest}")


def storable(error: str) -> str:
    """Return the text of an error as it can be kept: not too long, hidden characters escaped.

    Such a report is taken, not refused: a file name may be no text, and what failed has to be known.
    """
    return texts.shown(error, _ERROR_MAX - len("..."))
