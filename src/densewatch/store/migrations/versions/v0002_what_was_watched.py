"""What was watched in a time bin; of the bins that are there already nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; no row is written anew, so that a large database is ready at once."""
    op.add_column("observations", sa.Column("watched", sa.Text(), nullable=True))
