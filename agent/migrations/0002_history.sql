-- What stays of a release when its plan and most of its events are removed, and who signed what.

-- What it was about: tasks, products, when it was committed and planned.
ALTER TABLE release ADD COLUMN about TEXT;

-- How it went, in numbers; there is one as soon as events were removed.
ALTER TABLE release ADD COLUMN course TEXT;

CREATE INDEX release_plan ON release (plan);

-- Names of approvals as they were verified: who signed, and which plan.
CREATE TABLE signer (
    approval TEXT NOT NULL PRIMARY KEY,
    plan     TEXT NOT NULL,
    person   TEXT NOT NULL
);

CREATE INDEX signer_plan ON signer (plan);
