"""What belongs to a table of PostgreSQL beside its rows, and would go with it when it is made anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import TYPE_CHECKING

from zoopipe_core.adapters.sql_names import TableName

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_database import Database

__all__ = ["statements_for"]

_GRANTEE = (
    "CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END"
    " || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
)
# Each gives statements, with a column that has to be there for it, or NULL; a row for each such column.
_QUERIES = (
    # indexes, but for those of constraints and those of expressions
    "SELECT pg_get_indexdef(i.indexrelid), a.attname::text FROM pg_index i JOIN pg_attribute a"
    " ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])"
    " WHERE i.indrelid = to_regclass($1::text) AND i.indexprs IS NULL AND i.indpred IS NULL"
    " AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)",
    "SELECT format('COMMENT ON TABLE %s IS %L', $1::text, description), NULL::text FROM pg_description WHERE objoid ="
    " to_regclass($1::text) AND classoid = 'pg_class'::regclass AND objsubid = 0",
    "SELECT format('COMMENT ON COLUMN %s.%I IS %L', $1::text, c.attname, d.description), c.attname::text FROM"
    " pg_description d JOIN pg_attribute c ON c.attrelid = d.objoid AND c.attnum = d.objsubid WHERE d.objoid ="
    " to_regclass($1::text) AND d.classoid = 'pg_class'::regclass",
    f"SELECT format('GRANT %s ON TABLE %s TO ', a.privilege_type, $1::text) || {_GRANTEE}, NULL::text"  # noqa: S608
    " FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = to_regclass($1::text) AND a.grantee <> c.relowner",
    f"SELECT format('GRANT %s (%I) ON TABLE %s TO ', a.privilege_type, c.attname, $1::text) || {_GRANTEE},"  # noqa: S608
    " c.attname::text FROM pg_attribute c, aclexplode(c.attacl) a WHERE c.attrelid = to_regclass($1::text)",
    "SELECT format('ALTER TABLE %s OWNER TO %I', $1::text, pg_get_userbyid(relowner)), NULL::text FROM pg_class"
    " WHERE oid = to_regclass($1::text) AND pg_get_userbyid(relowner) <> current_user",
)


def statements_for(database: Database, table: TableName, columns: Collection[str]) -> list[str]:
    """What makes a new table of the same name have what the old one has: indexes, comments, grants, owner.

    Args:
        database: a PostgreSQL server.
        table: the old table, which is still there.
        columns: those of the new one; what needs others is left out.
    """
    found: list[str] = []
    for query in _QUERIES:
        needs: defaultdict[str, set[str]] = defaultdict(set)
        for statement, column in database.execute(query, [table.sql]):
            needs[statement].update([] if column is None else [column])
        found += [statement for statement, needed in needs.items() if needed <= set(columns)]
    return found
