"""Count a job that another key tries again for that key, and never more than the column holds.

Runs before deployment. Only the function behind the trigger `recount_usage` is replaced. It does the same as
before for whoever leaves a job's key as it is, as all code before this one does.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# A job counts in the month in which it was made (UTC), for its user and for the key that started it last,
# while it is not given back. What changes of that is taken from one row of `usage` and added to another. The
# user's rows come first, as everywhere: nobody waits in a circle. A row is there only where somebody has a
# limit.
COUNTS_FOR_ITS_KEY = """
CREATE OR REPLACE FUNCTION pipeline3d_recount_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted boolean := NOT (OLD.state IN ('FAILED', 'EXPIRED')
        OR (OLD.state = 'CANCELED' AND OLD.started_at IS NULL));
    counts boolean := NOT (NEW.state IN ('FAILED', 'EXPIRED')
        OR (NEW.state = 'CANCELED' AND NEW.started_at IS NULL));
    change record;
BEGIN
    IF counted = counts AND OLD.key_id IS NOT DISTINCT FROM NEW.key_id THEN
        RETURN NULL;
    END IF;
    FOR change IN
        SELECT place, owner, sum(sign) AS sign
        FROM (VALUES
            (1, OLD.user_id, -counted::integer), (1, NEW.user_id, counts::integer),
            (2, OLD.key_id, -counted::integer), (2, NEW.key_id, counts::integer)
        ) AS share(place, owner, sign)
        WHERE owner IS NOT NULL
        GROUP BY place, owner
        HAVING sum(sign) <> 0
        ORDER BY place, owner
    LOOP
        UPDATE usage SET jobs = greatest(0, jobs + change.sign),
            cost_units = least(99999999999.999, greatest(0, cost_units + change.sign * NEW.cost_units))
        WHERE owner_id = change.owner
            AND month = date_trunc('month', NEW.created_at AT TIME ZONE 'UTC')::date;
    END LOOP;
    RETURN NULL;
END
$$
"""
AS_BEFORE = """
CREATE OR REPLACE FUNCTION pipeline3d_recount_usage() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    was_free boolean := OLD.state IN ('FAILED', 'EXPIRED')
        OR (OLD.state = 'CANCELED' AND OLD.started_at IS NULL);
    is_free boolean := NEW.state IN ('FAILED', 'EXPIRED')
        OR (NEW.state = 'CANCELED' AND NEW.started_at IS NULL);
    sign integer := was_free::integer - is_free::integer;
    owner uuid;
BEGIN
    IF sign <> 0 THEN
        FOREACH owner IN ARRAY ARRAY[NEW.user_id, NEW.key_id] LOOP
            UPDATE usage SET jobs = greatest(0, jobs + sign),
                cost_units = greatest(0, cost_units + sign * NEW.cost_units)
            WHERE owner_id = owner AND month = date_trunc('month', NEW.created_at AT TIME ZONE 'UTC')::date;
        END LOOP;
    END IF;
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    op.execute(COUNTS_FOR_ITS_KEY)


def downgrade() -> None:
    op.execute(AS_BEFORE)
