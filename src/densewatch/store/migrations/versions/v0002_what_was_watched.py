"""What was watched in a time bin; of the bins that are there already nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the texts and a reference to them; no bin is written anew: a large database is soon ready."""
    op.create_table(
        "watched",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_watched")),
        sa.UniqueConstraint("digest", name=op.f("uq_watched_digest")),
    )
    # Alembic would add the reference by a second statement, which SQLite does not have.
    op.execute(
        "ALTER TABLE observations ADD COLUMN watched INTEGER "
        "CONSTRAINT fk_observations_watched REFERENCES watched (id)"
    )
    op.create_index(
        "ix_observations_watched",
        "observations",
        ["watched"],
        unique=False,
        sqlite_where=sa.text("watched IS NOT NULL"),
        postgresql_where=sa.text("watched IS NOT NULL"),
    )
