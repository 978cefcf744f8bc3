"""The host of a claim's program, where its CPU and memory are taken."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Add the column; programs of the claims that hold something are where their vGPUs are."""
    op.add_column("claims", sa.Column("program_host_id", sa.String(36), nullable=True))
    op.create_index("ix_claims_program_host_id", "claims", ["program_host_id"])
    claims = sa.table("claims", sa.column("id"), sa.column("state"), sa.column("program_host_id"))
    vgpus = sa.table("vgpus", sa.column("claim_id"), sa.column("host_id"))
    where = sa.select(sa.func.min(vgpus.c.host_id)).where(vgpus.c.claim_id == claims.c.id)
    holding = ["allocating", "binding", "bound", "releasing"]
    op.execute(
        claims.update()
        .where(claims.c.state.in_([op.inline_literal(state) for state in holding]))
        .values(program_host_id=where.scalar_subquery())
    )
