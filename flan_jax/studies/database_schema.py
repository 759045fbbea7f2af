"""The tables and views of a study's database, as SQL, and the question that each view answers."""

SCHEMA_VERSION = 4
"""Raised when a table changes; a database of another version is made anew from the study's folders."""

TABLES = """
CREATE TABLE runs (
  run TEXT PRIMARY KEY,        -- run_0007
  number INTEGER NOT NULL,     -- its place in the study
  replicate INTEGER NOT NULL,  -- among runs that are equal but for the seed
  state TEXT NOT NULL,         -- pending, running, interrupted, failed, diverged, done
  attempts INTEGER NOT NULL,
  failures INTEGER NOT NULL,   -- attempts that failed
  reason TEXT NOT NULL,        -- why the newest attempt did not reach the end
  step INTEGER,                -- of the last logged line
  steps INTEGER,               -- that it is to take
  evaluated_step INTEGER,      -- of its newest results
  tokens REAL,                 -- trained on, both sides without padding
  loss_tokens REAL,            -- of these, those that the loss counted
  seconds REAL,                -- of training alone
  wall_seconds REAL NOT NULL,  -- of all attempts but those that were killed; of a group, its part
  began TEXT, ended TEXT,      -- ISO 8601, UTC
  host TEXT,
  hardware TEXT,               -- JSON
  commit_id TEXT, version TEXT,
  parameters INTEGER,
  point TEXT NOT NULL,         -- the same of runs that are equal but for the seed
  digest TEXT NOT NULL,        -- of what was planned
  stamp TEXT NOT NULL          -- of the files that the rows were read from
);
CREATE TABLE levels (
  run TEXT NOT NULL, factor TEXT NOT NULL,
  level TEXT NOT NULL,         -- as text; of what is no text, as JSON
  number REAL,                 -- where it is one
  PRIMARY KEY (run, factor)
);
CREATE TABLE weights (
  run TEXT NOT NULL, unit TEXT NOT NULL,  -- a task, a cluster or an entry of the mixture
  weight REAL NOT NULL,                   -- share of the draws
  PRIMARY KEY (run, unit)
);
CREATE TABLE scores (
  run TEXT NOT NULL,
  step INTEGER NOT NULL,
  newest INTEGER NOT NULL,     -- 1: of the run's newest results
  suite TEXT NOT NULL, held_out INTEGER NOT NULL,
  kind TEXT NOT NULL,          -- task; cluster: mean over its tasks; suite: mean over its clusters; suite_tasks: over its tasks
  cluster TEXT NOT NULL,       -- '' of a suite
  task TEXT NOT NULL,          -- '' of a cluster or a suite
  metric TEXT NOT NULL,        -- 'score' is each task's own metric, whichever that is
  value REAL NOT NULL,
  low REAL, high REAL,         -- 95% interval, where there is one: of task and suite_tasks over examples, of cluster and
                               -- suite over other tasks of the same clusters, with their examples
  n INTEGER NOT NULL,          -- examples
  tasks INTEGER NOT NULL,
  chance REAL,
  PRIMARY KEY (run, step, suite, kind, cluster, task, metric)
);
CREATE TABLE losses (
  run TEXT NOT NULL, step INTEGER NOT NULL,
  task TEXT NOT NULL,          -- '' for all of them
  loss REAL NOT NULL,          -- nats a token, over the logged window that ends with the step
  share REAL,                  -- of the window's loss tokens
  PRIMARY KEY (run, step, task)
);
CREATE TABLE groups (
  name TEXT NOT NULL, run TEXT NOT NULL,  -- runs that were trained together
  PRIMARY KEY (name, run)
);
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE views (name TEXT PRIMARY KEY, question TEXT NOT NULL);
"""

_OBJECTIVE = """
  SELECT s.run, s.suite, s.metric, s.value, s.low, s.high, s.n, s.tasks FROM scores s
  JOIN about a ON a.key = 'objective' AND s.suite || '/' || s.metric = a.value
  WHERE s.newest AND s.kind = 'suite'
"""

VIEWS: dict[str, tuple[str, str]] = {
    "run_scores": (
        "What is the objective of each run that is done, and the score of the same suite beside it?",
        f"""
  SELECT r.run, r.replicate, o.value AS objective, o.low AS objective_low, o.high AS objective_high,
    t.value AS score, t.low AS score_low, t.high AS score_high, r.tokens, r.seconds
  FROM runs r JOIN ({_OBJECTIVE}) o ON o.run = r.run
  LEFT JOIN scores t ON t.run = r.run AND t.newest AND t.suite = o.suite AND t.kind = 'suite_tasks' AND t.metric = 'score'
  WHERE r.state = 'done'""",
    ),
    "best_runs": (
        "Which runs are best by the objective? The best is first.",
        """
  SELECT * FROM run_scores
  ORDER BY objective * (SELECT CASE value WHEN 'higher' THEN -1 ELSE 1 END FROM about WHERE key = 'better'), run""",
    ),
    "score_by_level": (
        "What does each level of a factor give, on average over the runs that have it?",
        """
  SELECT l.factor, l.level, l.number, count(*) AS runs, avg(s.objective) AS objective, min(s.objective) AS lowest,
    max(s.objective) AS highest, avg(s.score) AS score
  FROM levels l JOIN run_scores s ON s.run = l.run
  GROUP BY l.factor, l.level ORDER BY l.factor, l.number, l.level""",
    ),
    "cluster_score_by_level": (
        "What does each level of a factor give in each cluster that is measured?",
        """
  SELECT l.factor, l.level, l.number, c.suite, c.held_out, c.cluster, c.metric, count(*) AS runs, avg(c.value) AS value
  FROM levels l JOIN runs r ON r.run = l.run AND r.state = 'done'
  JOIN scores c ON c.run = l.run AND c.newest AND c.kind = 'cluster'
  GROUP BY l.factor, l.level, c.suite, c.cluster, c.metric
  ORDER BY l.factor, l.number, l.level, c.suite, c.cluster, c.metric""",
    ),
    "weights_and_score": (
        "What was each unit's weight in each run, and what did the run score?",
        """
  SELECT s.run, w.unit, w.weight, s.objective, s.score FROM run_scores s JOIN weights w ON w.run = s.run
  ORDER BY s.run, w.unit""",
    ),
    "task_scores": (
        "What did each task that is measured come to in each run, by its own metric?",
        """
  SELECT run, suite, held_out, cluster, task, metric, value, low, high, n, chance FROM scores
  WHERE newest AND kind = 'task' AND metric <> 'score' AND low IS NOT NULL ORDER BY run, suite, cluster, task""",
    ),
    "replicate_spread": (
        "How far apart are runs that are equal but for the seed (range, and variance of the objective)? No fit can be better.",
        """
  SELECT min(s.run) AS first_run, count(*) AS runs, avg(s.objective) AS objective,
    max(s.objective) - min(s.objective) AS range,
    max(0, (avg(s.objective * s.objective) - avg(s.objective) * avg(s.objective)) * count(*) / (count(*) - 1)) AS variance
  FROM run_scores s JOIN runs r ON r.run = s.run
  GROUP BY r.point HAVING count(*) > 1 ORDER BY first_run""",
    ),
    "failed_runs": (
        "Which runs have no result, and why?",
        "SELECT run, state, attempts, failures, step, reason FROM runs WHERE state IN ('failed', 'diverged') ORDER BY number",
    ),
    "unfinished_runs": (
        "Which runs are still to be done?",
        """
  SELECT run, state, attempts, step, steps FROM runs WHERE state IN ('pending', 'running', 'interrupted') ORDER BY number""",
    ),
    "cost": (
        "What did the study cost, by state of its runs?",
        """
  SELECT state, count(*) AS runs, sum(tokens) AS tokens, sum(seconds) AS seconds, sum(wall_seconds) AS wall_seconds
  FROM runs GROUP BY state""",
    ),
    "learning_curves": (
        "How did each suite's score move while the runs trained?",
        """
  SELECT run, step, suite, held_out, metric, value FROM scores WHERE kind = 'suite' ORDER BY run, suite, metric, step""",
    ),
    "last_losses": (
        "What is the training loss of each task at the end of each run?",
        """
  SELECT l.run, l.task, l.loss, l.share FROM losses l
  WHERE l.task <> '' AND l.step = (SELECT max(step) FROM losses m WHERE m.run = l.run AND m.task = l.task)
  ORDER BY l.run, l.task""",
    ),
}
"""Name → the question that it answers, and its SQL."""
