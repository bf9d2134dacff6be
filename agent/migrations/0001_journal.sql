-- The journal's tables. Portable SQL: PostgreSQL is to take the same statements.
-- Documents are JSON in TEXT columns; what is searched for has a column of its own.

-- Single documents by name: the baseline, the accepted revision, the published zones, the freeze.
CREATE TABLE fact (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE plan (
    digest   TEXT NOT NULL PRIMARY KEY,
    revision TEXT NOT NULL,
    made_at  TEXT NOT NULL,
    plan     TEXT NOT NULL,
    report   TEXT NOT NULL
);

CREATE TABLE release (
    id              TEXT NOT NULL PRIMARY KEY,
    plan            TEXT NOT NULL,
    revision        TEXT NOT NULL,
    before_revision TEXT,
    started_at      TEXT NOT NULL,
    phase           TEXT NOT NULL,
    ended_at        TEXT
);

-- Append-only: a release is what its events say.
CREATE TABLE event (
    release TEXT    NOT NULL,
    number  INTEGER NOT NULL,
    at      TEXT    NOT NULL,
    event   TEXT    NOT NULL,
    PRIMARY KEY (release, number)
);

-- What is ours because we applied it.
CREATE TABLE inventory (
    cluster   TEXT NOT NULL,
    api_group TEXT NOT NULL,
    kind      TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    entry     TEXT NOT NULL,
    PRIMARY KEY (cluster, api_group, kind, namespace, name)
);

-- Approval files as they were first seen: they stay known when the branch loses them.
CREATE TABLE approval (
    path      TEXT NOT NULL PRIMARY KEY,
    document  TEXT NOT NULL,
    signature TEXT NOT NULL,
    seen_at   TEXT NOT NULL
);

CREATE TABLE consumed (
    approval TEXT NOT NULL PRIMARY KEY,
    release  TEXT NOT NULL
);
