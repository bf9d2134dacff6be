-- Tries of tasks and tests: what their Jobs, pods and containers said when they ended. Written with the event that ends them.

CREATE TABLE run (
    release TEXT    NOT NULL,
    -- 1, 2, 3 … within the release.
    number  INTEGER NOT NULL,
    at      TEXT    NOT NULL,
    run     TEXT    NOT NULL,
    -- Apart, as lists do without them.
    logs    TEXT    NOT NULL,
    PRIMARY KEY (release, number)
);
