// The write decision: the order of checks, and that a refusal leaves no trace.

import { describe, expect, test } from "bun:test";
import { emptyState, type StreamHead } from "../../src/model/aggregate.ts";
import { canonicalize, type Canonical } from "../../src/model/canonical.ts";
import { DbxError, permissionDenied, unauthenticated } from "../../src/model/error.ts";
import type { CommittedEvent } from "../../src/model/event.ts";
import {
  emptyFrontier,
  emptyRoot,
  growFrontier,
  leafHash,
  rootOf,
  sha256,
} from "../../src/model/merkle.ts";
import {
  newHead,
  planAppends,
  type Allowance,
  type Known,
  type Outcome,
  type Plan,
  type PlanContext,
  type PlannedEvent,
  type TokenUse,
  type Transaction,
} from "../../src/model/plan.ts";
import { keyText, type ExpectedVersion } from "../../src/model/stream.ts";

const now = "2026-01-02T03:04:05.678901Z";
const id = (n: number) => `00000000-0000-7000-8000-${String(n).padStart(12, "0")}`;

const event = (over: Partial<PlannedEvent> = {}): PlannedEvent => ({
  aggregate_type: "patient",
  aggregate_id: "p-001",
  event_type: "patient-added",
  payload: canonicalize('{"name":"Jane"}'),
  note: null,
  event_id: id(1),
  client_id: false,
  expected_version: "any",
  salt: new Uint8Array(16),
  ...over,
});

const transaction = (events: PlannedEvent[], token_id: string | null = null): Transaction => ({
  events,
  batch: events.length > 1,
  issued_by: { group: "admin", user: "jane" },
  token_id,
});

const context = (over: Partial<PlanContext> = {}): PlanContext => ({
  now,
  allowanceOf: () => ({ ok: true, writes_max: null, expires_at: null, term: "t" }),
  checkSchema: () => {},
  snapshotThresholdOf: () => null,
  hidesSomething: () => false,
  ...over,
});

const known = (over: Partial<Known> = {}): Known => ({
  heads: new Map(),
  events: new Map(),
  token_uses: new Map(),
  log: emptyFrontier,
  ...over,
});

const headAt = (head: Partial<StreamHead>): ReadonlyMap<string, StreamHead> => {
  const full = { ...newHead(event()), ...head };
  return new Map([[keyText(full), full]]);
};

function refusal(outcome: Outcome | undefined): DbxError {
  if (outcome?.kind !== "refused") throw new Error(`expected a refusal, got ${outcome?.kind}`);
  return outcome.error;
}

function only(plan: Plan): Outcome | undefined {
  expect(plan.outcomes).toHaveLength(1);
  return plan.outcomes[0];
}

const untouched = { heads: [], snapshots: [], token_uses: [], log: emptyFrontier };

describe("an accepted append", () => {
  test("extends version, tree and state of its stream, and the tree of the log", () => {
    const head = headAt({ version: 0 });
    const first = planAppends(known({ heads: head }), [transaction([event()])], context());
    const outcome = only(first);
    if (outcome?.kind !== "appended") throw new Error("refused");
    const [written] = outcome.events;
    const frontier = growFrontier(emptyFrontier, written?.hash ?? emptyRoot);
    expect(written).toMatchObject({
      version: 1,
      created_at: now,
      issued_by: { group: "admin", user: "jane" },
    });
    expect(written?.merkle_root).toEqual(rootOf(frontier));
    expect(first.heads).toEqual([
      {
        ...newHead(event()),
        version: 1,
        frontier,
        root: rootOf(frontier),
        state: '{"name":"Jane"}' as Canonical,
        updated_at: now,
      },
    ]);
    expect(first.log).toEqual(growFrontier(emptyFrontier, written?.hash ?? emptyRoot));
  });

  test("sees what earlier transactions of the same commit did", () => {
    const plan = planAppends(
      known(),
      [
        transaction([event({ event_id: id(1), expected_version: "no_stream" })]),
        transaction([event({ event_id: id(2), expected_version: 1 })]),
        transaction([event({ event_id: id(3), expected_version: 1 })]),
        transaction([event({ event_id: id(4), expected_version: 2 })]),
      ],
      context(),
    );
    expect(plan.outcomes.map(({ kind }) => kind)).toEqual([
      "appended",
      "appended",
      "refused",
      "appended",
    ]);
    expect(plan.heads).toHaveLength(1);
    expect(plan.heads[0]?.version).toBe(3);
    expect(plan.log.size).toBe(3);
  });

  test("keeps the actor an event brings with it, nobody included, and hashes it", () => {
    const own = { group: "nurse", user: "joe" };
    const issued = (over: Partial<PlannedEvent>) => {
      const outcome = only(planAppends(known(), [transaction([event(over)])], context()));
      if (outcome?.kind !== "appended") throw new Error("refused");
      return outcome.events[0];
    };
    const all = [issued({}), issued({ issued_by: own }), issued({ issued_by: null })];
    const jane = { group: "admin", user: "jane" };
    expect(all.map((written) => written?.issued_by)).toEqual([jane, own, null]);
    expect(new Set(all.map((written) => written?.hash.toHex())).size).toBe(3);
  });

  test("never goes back in time within an aggregate", () => {
    const later = "2030-01-01T00:00:00.000000Z";
    const plan = planAppends(
      known({ heads: headAt({ updated_at: later }) }),
      [transaction([event()])],
      context(),
    );
    const outcome = only(plan);
    expect(outcome?.kind === "appended" && outcome.events[0]?.created_at).toBe(later);
  });

  test("keeps a snapshot exactly when one is due", () => {
    const events = [1, 2, 3, 4, 5].map((n) => event({ event_id: id(n) }));
    const plan = planAppends(
      known(),
      [transaction(events)],
      context({ snapshotThresholdOf: () => 2 }),
    );
    expect(plan.snapshots.map(({ version }) => version)).toEqual([2, 4]);
    expect(plan.snapshots[1]).toMatchObject({
      state: '{"name":"Jane"}',
      comment: "auto snapshot v4",
      created_at: now,
    });
  });
});

describe("expected version", () => {
  const cases: [ExpectedVersion, number, boolean][] = [
    ["any", 0, true],
    ["any", 3, true],
    ["no_stream", 0, true],
    ["no_stream", 1, false],
    ["stream_exists", 0, false],
    ["stream_exists", 1, true],
    [0, 0, true],
    [3, 3, true],
    [2, 3, false],
    [4, 3, false],
  ];
  test.each(cases)("%p at version %p: %p", (expected_version, version, accepted) => {
    const frontier = Array.from({ length: version }, (_, index) => leafHash(String(index))).reduce(
      growFrontier,
      emptyFrontier,
    );
    const plan = planAppends(
      known({ heads: headAt({ version, frontier }) }),
      [transaction([event({ expected_version })])],
      context(),
    );
    if (accepted) {
      expect(only(plan)?.kind).toBe("appended");
      expect(plan.heads[0]?.version).toBe(version + 1);
      return;
    }
    const error = refusal(only(plan));
    expect(error.code).toBe("version_conflict");
    expect(error.details).toMatchObject({ expected: expected_version, actual: version });
    expect(plan).toMatchObject(untouched);
  });

  test("each event of a batch is checked against what the batch did before it", () => {
    const batch = [
      event({ event_id: id(1), expected_version: "no_stream" }),
      event({ event_id: id(2), expected_version: 1 }),
      event({ event_id: id(3), expected_version: 1 }),
    ];
    const plan = planAppends(known(), [transaction(batch)], context());
    const error = refusal(only(plan));
    expect([error.code, error.details["index"]]).toEqual(["version_conflict", 2]);
    expect(plan).toMatchObject(untouched);
  });
});

describe("known event ids", () => {
  const first: CommittedEvent = {
    ...event({ event_id: id(9), note: "n" }),
    version: 4,
    position: 17,
    created_at: "2020-01-01T00:00:00.000000Z",
    issued_by: null,
    content_digest: sha256("c"),
    hash: sha256("h"),
    merkle_root: sha256("r"),
  };
  const events = new Map([[first.event_id, first]]);
  const again = event({ event_id: id(9), note: "n", client_id: true, expected_version: 99 });

  test("the same content is answered with the first event, before any other check, and charged nothing", () => {
    const refuseAll = context({ allowanceOf: () => ({ ok: false, error: unauthenticated() }) });
    const plan = planAppends(
      known({ events, heads: headAt({ archived: true }) }),
      [transaction([again], "t")],
      refuseAll,
    );
    expect(only(plan)).toEqual({ kind: "repeated", events: [first] });
    expect(plan).toMatchObject(untouched);
  });

  const others: [string, Partial<PlannedEvent>][] = [
    ["aggregate type", { aggregate_type: "person" }],
    ["aggregate id", { aggregate_id: "p-002" }],
    ["event type", { event_type: "patient-left" }],
    ["payload", { payload: canonicalize("{}") }],
    ["note", { note: null }],
  ];
  test.each(others)("another %s is refused", (_what, over) => {
    const plan = planAppends(known({ events }), [transaction([{ ...again, ...over }])], context());
    expect(refusal(only(plan)).code).toBe("already_exists");
    expect(plan).toMatchObject(untouched);
  });

  test("a batch that repeats some events and adds others is refused", () => {
    const plan = planAppends(
      known({ events }),
      [transaction([again, event({ event_id: id(10), client_id: true })])],
      context(),
    );
    const error = refusal(only(plan));
    expect([error.code, error.details["index"]]).toEqual(["already_exists", 1]);
  });

  test("a batch in which an id belongs to another event names that one, wherever it stands", () => {
    const batch = [event({ event_id: id(10), client_id: true }), { ...again, note: "other" }];
    const plan = planAppends(known({ events }), [transaction(batch)], context());
    expect(refusal(only(plan)).details).toEqual({ index: 1, event_id: id(9) });
  });

  test("an id repeated within one commit gets the position the first will have", () => {
    const twice = event({ event_id: id(5), client_id: true });
    const plan = planAppends(
      known({ log: { size: 2, nodes: sha256("two") } }),
      [transaction([event({ event_id: id(4) })]), transaction([twice]), transaction([twice])],
      context(),
    );
    expect(plan.outcomes.map(({ kind }) => kind)).toEqual(["appended", "appended", "repeated"]);
    const last = plan.outcomes[2];
    expect(last?.kind === "repeated" && last.events[0]?.position).toBe(4);
    expect(plan.log.size).toBe(4);
  });
});

describe("tokens", () => {
  const use = (writes: number): ReadonlyMap<string, TokenUse> =>
    new Map([["t", { token_id: "t", writes, expires_at: null, term: "t" }]]);
  const limited = context({
    allowanceOf: () => ({ ok: true, writes_max: 5, expires_at: null, term: "t" }),
  });

  test("every event of an accepted transaction is charged", () => {
    const plan = planAppends(
      known({ token_uses: use(2) }),
      [transaction([event({ event_id: id(1) }), event({ event_id: id(2) })], "t")],
      limited,
    );
    expect(plan.token_uses).toEqual([{ token_id: "t", writes: 4, expires_at: null, term: "t" }]);
  });

  test("a batch above what is left is refused whole, a smaller one behind it goes through", () => {
    const plan = planAppends(
      known({ token_uses: use(4) }),
      [
        transaction([event({ event_id: id(1) }), event({ event_id: id(2) })], "t"),
        transaction([event({ event_id: id(3) })], "t"),
        transaction([event({ event_id: id(4) })], "t"),
      ],
      limited,
    );
    expect(plan.outcomes.map(({ kind }) => kind)).toEqual(["refused", "appended", "refused"]);
    expect(refusal(plan.outcomes[0])).toMatchObject({
      code: "permission_denied",
      message: "token write limit reached",
    });
    expect(plan.token_uses.map(({ writes }) => writes)).toEqual([5]);
  });

  test("a refused append is not charged", () => {
    const plan = planAppends(
      known(),
      [transaction([event({ expected_version: 7 })], "t")],
      limited,
    );
    expect(refusal(only(plan)).code).toBe("version_conflict");
    expect(plan.token_uses).toEqual([]);
  });

  test("a token that was revoked while the append waited refuses it", () => {
    const error = permissionDenied("revoked");
    const plan = planAppends(
      known(),
      [transaction([event()], "t")],
      context({ allowanceOf: () => ({ ok: false, error }) }),
    );
    expect(refusal(only(plan))).toBe(error);
  });
});

describe("order of checks", () => {
  const broken = (): void => {
    throw new DbxError("schema_violation", "broken");
  };
  // Everything is wrong at once; mending the first fault shows the next.
  interface Attempt {
    readonly allowance: Allowance;
    readonly archived: boolean;
    readonly expected_version: ExpectedVersion;
    readonly schema: () => void;
  }
  const wrong: Attempt = {
    allowance: { ok: true, writes_max: 0, expires_at: null, term: "t" },
    archived: true,
    expected_version: 3,
    schema: broken,
  };
  const attempt = (mended: Partial<Attempt>): string => {
    const all = { ...wrong, ...mended };
    const outcome = only(
      planAppends(
        known({ heads: headAt({ archived: all.archived, state: emptyState }) }),
        [transaction([event({ expected_version: all.expected_version })], "t")],
        context({ allowanceOf: () => all.allowance, checkSchema: all.schema }),
      ),
    );
    return outcome?.kind === "refused" ? outcome.error.code : "appended";
  };
  const allowance: Allowance = { ok: true, writes_max: null, expires_at: null, term: "t" };

  test("allowance, archived, expected version, schema", () => {
    expect(attempt({})).toBe("permission_denied");
    expect(attempt({ allowance })).toBe("aggregate_archived");
    expect(attempt({ allowance, archived: false })).toBe("version_conflict");
    expect(attempt({ allowance, archived: false, expected_version: "any" })).toBe(
      "schema_violation",
    );
    expect(attempt({ allowance, archived: false, expected_version: "any", schema: () => {} })).toBe(
      "appended",
    );
  });
});
