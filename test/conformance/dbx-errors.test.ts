// Every error code on every surface, provoked on a live server: the status is the table's
// (src/api/errors.ts), code, message and details are the engine's own, and a defect tells nothing
// of itself. A new code without a row does not compile. What HTTP alone says more precisely, and
// how its answers look, is in test/contract/error-shape.test.ts.

import { describe, expect, test } from "bun:test";
import { statusOf } from "../../src/api/errors.ts";
import { errorCodes, type DbxError, type ErrorCode } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { realSystem } from "../../src/system.ts";
import { root } from "../support/store.ts";
import {
  eventOf,
  json,
  openWorld,
  refusal,
  statusBeside,
  tamper,
  type Caller,
  type Surface,
  type World,
} from "../support/surfaces.ts";
import { engineSurface } from "../support/surfaces-engine.ts";
import { graphqlSurface } from "../support/surfaces-graphql.ts";
import { grpcSurface } from "../support/surfaces-grpc.ts";
import { restSurface } from "../support/surfaces-rest.ts";

/** Where a refusal has a status of its protocol beside it, and which. */
const columns: readonly {
  readonly surface: Surface;
  readonly status: ((code: ErrorCode) => number) | null;
}[] = [
  { surface: engineSurface, status: null },
  { surface: restSurface, status: (code) => statusOf[code].http },
  // An answer with errors is an answer; without a token nothing is looked at.
  { surface: graphqlSurface, status: (code) => (code === "unauthenticated" ? 401 : 200) },
  { surface: grpcSurface, status: (code) => statusOf[code].grpc },
];

interface Row {
  /** Before the server has anything to refuse. */
  readonly arrange?: (world: World, defect: () => void) => unknown;
  readonly ask: (world: World) => Promise<unknown>;
  readonly message?: string;
  readonly details?: object;
}

const key = { aggregate_type: "thing", aggregate_id: "t-1" };
const thing = (over: Parameters<typeof eventOf>[1] = {}) =>
  eventOf("thing", { aggregate_id: "t-1", ...over });
const event_id = "45c3013e-9b95-4ed0-9af9-1a465f81d3cf";

const rows: Readonly<Record<ErrorCode, Row>> = {
  invalid_argument: {
    ask: ({ admin }) => admin.appendEvent(thing({ aggregate_id: " t" })),
    message: "aggregate_id must not begin or end with a blank",
    details: { path: "/aggregate_id" },
  },
  unauthenticated: {
    ask: ({ as }) => as("EVT-none").readLog({}),
    message: "token not found or inactive",
    details: {},
  },
  permission_denied: {
    ask: async ({ as, store }) => {
      const { token } = await store.dbx.issueToken(root, { group: "app", user: "bob", limit: 0 });
      return as(token).appendEvent(thing());
    },
    message: "token write limit reached",
  },
  not_found: {
    ask: ({ admin }) => admin.getAggregate({ ...key, aggregate_id: "none" }),
    message: "aggregate not found",
    details: { ...key, aggregate_id: "none" },
  },
  already_exists: {
    arrange: ({ admin }) => admin.appendEvent(thing({ event_id })),
    ask: ({ admin }) => admin.appendEvent(thing({ event_id, payload: json("1") })),
    message: `event id ${event_id} is already used by another event`,
    details: { event_id },
  },
  version_conflict: {
    ask: ({ admin }) => admin.appendEvent(thing({ expected_version: 7 })),
    message: "thing/t-1 is at version 0, expected 7",
    details: { ...key, expected: 7, actual: 0 },
  },
  aggregate_archived: {
    arrange: async ({ admin, store }) => {
      await admin.appendEvent(thing());
      await store.dbx.archiveAggregate(root, key);
    },
    ask: ({ admin }) => admin.appendEvent(thing()),
    message: "aggregate is archived and cannot accept new events",
    details: key,
  },
  failed_precondition: {
    ask: ({ admin }) => follow(admin, { after: 9 }),
    details: { after: 9, position: 0 },
  },
  schema_violation: {
    arrange: ({ store }) => store.dbx.createSchema(root, { aggregate: "thing", events: ["made"] }),
    ask: ({ admin }) => admin.appendEvent(thing()),
  },
  too_large: {
    ask: ({ admin }) =>
      admin.appendEvent(thing({ payload: json(`"${"x".repeat(limits.payload_bytes_default)}"`) })),
    details: { bytes: limits.payload_bytes_default + 2, limit: limits.payload_bytes_default },
  },
  overloaded: {
    arrange: async ({ store }) => {
      const actorOf = () => root;
      const { signal } = new AbortController();
      for (let each = 0; each < limits.subscribers_max; each++) {
        const stream = store.live.followLog(actorOf, { after: 0 }, signal);
        await stream[Symbol.asyncIterator]().next();
      }
    },
    ask: ({ admin }) => follow(admin, { after: 0 }),
  },
  unavailable: {
    arrange: ({ store }) => store.close(),
    ask: ({ admin }) => admin.appendEvent(thing()),
  },
  data_corrupted: {
    arrange: async ({ admin, directory }) => {
      await admin.appendEvent(thing());
      tamper(directory);
    },
    ask: ({ admin }) => admin.verifyAggregate(key),
  },
  internal: {
    arrange: (_world, defect) => defect(),
    ask: ({ admin }) => admin.appendEvent(thing()),
    message: "internal error; the log of the server has the details",
    details: {},
  },
};

async function follow(caller: Caller, input: { after: number }): Promise<unknown> {
  for await (const each of caller.follow(input, AbortSignal.timeout(10_000))) return each;
  return "the end";
}

/** The refusal on one surface. What is no DbxError must be the engine's own defect. */
async function provoke(surface: Surface, { arrange, ask }: Row): Promise<[DbxError, World]> {
  let defective = false;
  const random: typeof realSystem.random = (bytes) => {
    if (defective) throw new Error("out of EVT-0123456789abcdef");
    return realSystem.random(bytes);
  };
  await using world = await openWorld(surface, { system: { random } });
  await arrange?.(world, () => (defective = true));
  return [await refusal(ask(world)), world];
}

/** Our own client tells no status; the server's log does. */
const loggedStatus = (lines: readonly string[]): number =>
  Number(
    / request .*status=(\d+)/.exec(lines.findLast((line) => / request /.test(line)) ?? "")?.[1],
  );

describe.each(columns)("$surface.name", ({ surface, status }) => {
  test.each(errorCodes.map((code) => [code, rows[code]] as const))("says %s", async (code, row) => {
    // In process a defect is whatever was thrown: only surfaces have something to hide.
    if (code === "internal" && surface === engineSurface) {
      await expect(provoke(surface, row)).rejects.toThrow("out of EVT-");
      return;
    }
    const [error, { lines }] = await provoke(surface, row);
    const [own] = code === "internal" ? [error] : await provoke(engineSurface, row);
    const { message = own.message, details = own.details } = row;
    expect<unknown[]>([error.code, error.message, error.details]).toEqual([code, message, details]);
    expect<unknown[]>([own.message, own.details]).toEqual([message, details]);
    if (status !== null) expect(statusBeside.get(error) ?? loggedStatus(lines)).toBe(status(code));
    const logged = lines.filter((line) => line.includes(" error "));
    expect(logged).toHaveLength(code === "internal" ? 1 : 0);
    if (code === "internal") {
      expect(logged[0]).toContain("stack=");
      expect(logged[0]).not.toContain("0123456789abcdef");
    }
  });
});
