CREATE TABLE traces (
    id INTEGER PRIMARY KEY,
    trace_id TEXT NOT NULL UNIQUE,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    session_id TEXT,
    user_id TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    environment TEXT,
    release TEXT,
    -- What the spans add up to.
    latency INTEGER,
    span_count INTEGER NOT NULL DEFAULT 0,
    error_count INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    total_cost REAL NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    stored_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;
CREATE INDEX traces_by_start ON traces (started_at, id);
CREATE INDEX traces_by_name ON traces (name, started_at);
CREATE INDEX traces_by_status ON traces (status, started_at);
CREATE INDEX traces_by_session ON traces (session_id, started_at) WHERE session_id IS NOT NULL;
CREATE INDEX traces_by_user ON traces (user_id, started_at) WHERE user_id IS NOT NULL;
CREATE INDEX traces_by_latency ON traces (latency);
CREATE INDEX traces_by_tokens ON traces (prompt_tokens + completion_tokens);
CREATE INDEX traces_by_cost ON traces (total_cost);
CREATE INDEX traces_by_project ON traces (project, started_at);
CREATE INDEX traces_by_change ON traces (changed_at);

-- How many traces were removed: what tells that a list has become shorter.
CREATE TABLE removals (count INTEGER NOT NULL) STRICT;
INSERT INTO removals VALUES (0);
CREATE TRIGGER removed AFTER DELETE ON traces BEGIN
    UPDATE removals SET count = count + 1;
END;

-- What is long, apart from what lists are made of.
CREATE TABLE trace_content (
    id INTEGER PRIMARY KEY REFERENCES traces (id) ON DELETE CASCADE,
    input TEXT,
    output TEXT,
    metadata TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE trace_tags (
    tag TEXT NOT NULL,
    id INTEGER NOT NULL REFERENCES traces (id) ON DELETE CASCADE,
    PRIMARY KEY (tag, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX trace_tags_by_trace ON trace_tags (id);

CREATE TABLE spans (
    sid INTEGER PRIMARY KEY,
    span_id TEXT NOT NULL,
    id INTEGER NOT NULL REFERENCES traces (id) ON DELETE CASCADE,
    -- How much of it there is, in bytes.
    bytes INTEGER NOT NULL DEFAULT 0,
    parent_span_id TEXT,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    model TEXT,
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    completion_start_time INTEGER,
    error TEXT,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    total_cost REAL NOT NULL DEFAULT 0,
    UNIQUE (id, span_id)
) STRICT;
CREATE INDEX spans_by_trace ON spans (id, started_at, span_id);
CREATE INDEX spans_by_model ON spans (model, started_at) WHERE model IS NOT NULL;
CREATE INDEX spans_by_kind ON spans (kind, name, started_at);

CREATE TABLE span_content (
    sid INTEGER PRIMARY KEY REFERENCES spans (sid) ON DELETE CASCADE,
    input TEXT,
    output TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    token_usage TEXT,
    model_parameters TEXT,
    cost TEXT
) STRICT;

CREATE TABLE scores (
    id INTEGER PRIMARY KEY,
    score_id TEXT NOT NULL UNIQUE,
    trace_id TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT,
    number REAL,
    data_type TEXT NOT NULL,
    source TEXT NOT NULL,
    reason TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX scores_by_trace ON scores (trace_id, name, created_at);
CREATE INDEX scores_by_name ON scores (name, created_at);

-- Words of names, inputs and outputs: what is searched. It holds no text of its own.
CREATE VIRTUAL TABLE words USING fts5 (body, content = '', contentless_delete = 1, tokenize = 'unicode61');
