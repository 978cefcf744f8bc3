"""Attachments in the database."""

from typing import Any

from sqlalchemy.orm import Session

from gpupool.db import models
from gpupool.db.table import Table
from gpupool.model import states
from gpupool.model.attachment import Attachment
from gpupool.model.states import AttachmentState

_table = Table(models.Attachment, Attachment)
get, list_, create = _table.get, _table.list_, _table.create
update, delete, count = _table.update, _table.delete, _table.count


def transition(
    session: Session, attachment: Attachment, state: AttachmentState, /, **changes: Any
) -> Attachment:
    """Bring ``attachment`` to ``state``; raises as states.check and update."""
    states.check(states.ATTACHMENT, attachment.state, state)
    return update(session, attachment.id, state=state, **changes)
