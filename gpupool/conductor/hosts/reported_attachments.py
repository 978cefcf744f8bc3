"""What a host reports of its attachments."""

from gpupool.conductor.hosts import report_validation
from gpupool.conductor.transaction import Transaction
from gpupool.db import attachments
from gpupool.model.attachment import Attachment
from gpupool.model.host import Host
from gpupool.model.report import AttachmentReport, HostReport
from gpupool.model.states import AttachmentState


def write(transaction: Transaction, host: Host, report: HostReport) -> list[Attachment]:
    """Return the attachments of the host."""
    seen = {each.id: each for each in report.attachments}
    attached = attachments.list_(transaction.session, {"host_id": host.id})
    for attachment in attached:
        each = seen.get(attachment.id)
        if attachment.state != AttachmentState.REMOVING:
            if each is not None and each.generation >= attachment.generation:
                _write_attachment(transaction, attachment, each)
        elif each is None and report.generation >= attachment.generation:
            attachments.delete(transaction.session, attachment.id)
    return attached


def _write_attachment(
    transaction: Transaction, attachment: Attachment, report: AttachmentReport
) -> None:
    state = AttachmentState.FAILED if report.error else AttachmentState.READY
    said = {
        "state_reason": report_validation.storable(report.error),
        "environment": report_validation.environment(attachment, report),
        "cdi_device": report.cdi_device,
    }
    if state != attachment.state:
        attachments.transition(transaction.session, attachment, state, **said)
    elif said != {name: getattr(attachment, name) for name in said}:
        attachments.update(transaction.session, attachment.id, **said)
