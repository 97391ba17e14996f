// Who may ask what: every operation, every kind of token, every surface. The expected cells are
// data in the table below; an operation without a row fails.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { call } from "../../src/api/call.ts";
import { operations, type OperationName } from "../../src/api/operations.ts";
import { routes } from "../../src/api/routes.ts";
import { stopPath } from "../../src/api/stop.ts";
import type { Input } from "../../src/api/operations.ts";
import { DbxError } from "../../src/model/error.ts";
import { foreignEvent } from "../support/foreign.ts";
import { engineSurface } from "../support/surfaces-engine.ts";
import { graphqlSurface } from "../support/surfaces-graphql.ts";
import { grpcSurface } from "../support/surfaces-grpc.ts";
import { restSurface } from "../support/surfaces-rest.ts";
import {
  eventOf,
  json,
  openWorld,
  sharedOperations,
  type Caller,
  type SharedOperation,
  type World,
} from "../support/surfaces.ts";
import { manualClock, root } from "../support/store.ts";

const holders = [
  ...["none", "garbage", "expired", "revoked", "spent", "read", "append", "scoped", "admin"],
  // The master key: in `X-Admin-Key`, or where only tokens are known, in the place of one.
  "master",
] as const;
type Holder = (typeof holders)[number];

/** As they stand in the table. */
const codes: Readonly<Record<string, string>> = {
  "+": "done",
  U: "unauthenticated",
  P: "permission_denied",
  N: "not_found",
  F: "failed_precondition",
  S: "schema_violation",
};

const inside = { aggregate_type: "mine", aggregate_id: "a-1" };
const outside = { aggregate_type: "theirs", aggregate_id: "a-1" };
const missing = { aggregate_type: "theirs", aggregate_id: "none" };
const masterKey = "correct-horse-battery";
const masterKeyHash = Bun.password.hash(masterKey, {
  ...{ algorithm: "argon2id", memoryCost: 8, timeCost: 1 },
});
let made = 0;
/** A name that nobody has used. */
const fresh = (): string => `n${++made}`;

interface Row {
  readonly asks: OperationName | "followLog" | "stopServer";
  readonly about: string;
  readonly input: () => object;
  /** One cell for each of `holders`, in their order. */
  readonly cells: string;
}
const row = (asks: Row["asks"], about: string, cells: string, input: () => object): Row => ({
  ...{ asks, about, cells, input },
});
const foreign = (aggregate_type: string) => ({
  ...foreignEvent({ aggregate_type, aggregate_id: "none" }),
  payload: json("{}"),
});
const mine = () => eventOf("mine");
const theirs = () => eventOf("theirs");

const table: readonly Row[] = [
  row("health", "", "+ + + + + + + + + +", () => ({})),
  row("appendEvent", "inside", "U U U U P P + + + U", mine),
  row("appendEvent", "outside", "U U U U P P + P + U", theirs),
  row("appendEvents", "inside", "U U U U P P + + + U", () => ({ events: [mine()] })),
  row("appendEvents", "partly outside", "U U U U P P + P + U", () => ({
    events: [mine(), theirs()],
  })),
  row("importEvents", "inside", "U U U U F P F F F U", () => ({ events: [foreign("mine")] })),
  row("importEvents", "outside", "U U U U F P F P F U", () => ({ events: [foreign("theirs")] })),
  row("createAggregate", "inside", "U U U U + P + + + U", () => ({
    ...{ aggregate_type: "mine", aggregate_id: fresh() },
  })),
  row("createAggregate", "outside", "U U U U + P + P + U", () => ({
    ...{ aggregate_type: "theirs", aggregate_id: fresh() },
  })),
  row("listEvents", "inside", "U U U U + + P + + U", () => inside),
  row("listEvents", "outside", "U U U U + + P N + U", () => outside),
  row("listEvents", "of nothing", "U U U U N N P N N U", () => missing),
  row("readLog", "", "U U U U + + P + + U", () => ({})),
  row("readLog", "of what schemas hide", "U U U U P P P P + U", () => ({ include_hidden: true })),
  row("followLog", "", "U U U U + + P + + U", () => ({ after: 0 })),
  row("listAggregates", "", "U U U U + + P + + U", () => ({})),
  row("exportAggregates", "", "U U U U + + P + + U", () => ({})),
  row("getAggregate", "inside", "U U U U + + P + + U", () => inside),
  row("getAggregate", "outside", "U U U U + + P N + U", () => outside),
  row("getAggregate", "of nothing", "U U U U N N P N N U", () => missing),
  row("verifyAggregate", "inside", "U U U U + + P + + U", () => inside),
  row("verifyAggregate", "outside", "U U U U + + P N + U", () => outside),
  row("createSnapshot", "inside", "U U U U + P P + + U", () => inside),
  row("createSnapshot", "outside", "U U U U + P P P + U", () => outside),
  row("archiveAggregate", "inside", "U U U U P P P P + U", () => inside),
  row("restoreAggregate", "inside", "U U U U P P P P + U", () => inside),
  // Nothing is encrypted here.
  row("eraseAggregate", "inside", "U U U U P P P P F U", () => ({ ...inside, reason: "x" })),
  row("removeAggregate", "with events", "U U U U P P P P F U", () => inside),
  row("stageEvent", "inside", "U U U U + P + + + U", mine),
  row("stageEvent", "outside", "U U U U + P + P + U", theirs),
  row("listStaged", "", "U U U U + + P + + U", () => ({})),
  row("commitStaged", "of nothing", "U U U U + P P + + U", () => ({})),
  row("discardStaged", "of nothing", "U U U U + P P + + U", () => ({ all: true })),
  row("createSchema", "", "U U U U P P P P + +", () => ({
    ...{ aggregate: fresh(), events: ["noted"] },
  })),
  row("listSchemas", "", "U U U U P P P P + +", () => ({})),
  row("getSchema", "", "U U U U P P P P + +", () => ({ aggregate: "known" })),
  row("changeSchema", "", "U U U U P P P P + +", () => ({ aggregate: "known", locked: false })),
  row("removeSchemaEvent", "the last one", "U U U U P P P P S S", () => ({
    ...{ aggregate: "known", event: fresh() },
  })),
  // What a schema says is not for those who see a part of the store.
  row("validateEvent", "", "U U U U + + P P + +", () => ({
    ...{ aggregate: "known", event: "noted", payload: json("{}") },
  })),
  row("listPlugins", "", "U U U U P P P P + +", () => ({})),
  row("putPlugin", "", "U U U U P P P P + +", () => ({
    ...{ name: "known", config: { type: "tcp", host: "127.0.0.1", port: 9 } },
  })),
  // A token is never this machine's command line.
  row("putPlugin", "of a process", "U U U U P P P P P P", () => ({
    name: fresh(),
    config: {
      ...{ type: "process", name: "x", version: "1.0.0", args: [], env: {}, working_dir: null },
    },
  })),
  row("enablePlugin", "unknown", "U U U U P P P P N N", () => ({ name: fresh() })),
  row("disablePlugin", "unknown", "U U U U P P P P N N", () => ({ name: fresh() })),
  row("removePlugin", "unknown", "U U U U P P P P N N", () => ({ name: fresh() })),
  row("testPlugins", "", "U U U U P P P P + +", () => ({})),
  row("replayPlugin", "unknown", "U U U U P P P P N N", () => ({
    ...{ name: fresh(), aggregate_type: "mine" },
  })),
  row("listQueue", "", "U U U U P P P P + +", () => ({})),
  row("clearQueue", "", "U U U U P P P P + +", () => ({})),
  row("retryQueue", "", "U U U U P P P P + +", () => ({})),
  row("listPositions", "", "U U U U P P P P + +", () => ({ take: 10 })),
  row("rootsAt", "", "U U U U P P P P + +", () => ({ of: [{ ...inside, version: 1 }] })),
  row("readForeign", "", "U U U U P P P P + +", () => ({ ...inside, after: 0, take: 10 })),
  row("applySchemas", "", "U U U U P P P P + +", () => ({ schemas: [], remove: [] })),
  row("listRemotes", "", "U U U U P P P P + +", () => ({})),
  // There is no configuration file behind these surfaces.
  row("putRemote", "", "U U U U P P P P F F", () => ({
    ...{ name: fresh(), endpoint: "10.0.0.7" },
    public_key: "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo",
  })),
  row("removeRemote", "", "U U U U P P P P F F", () => ({ name: fresh() })),
  row("verifyLog", "", "U U U U P P P P + +", () => ({})),
  row("serverStatus", "", "U U U U P P P P + +", () => ({})),
  // No configuration stands behind this store.
  row("reloadConfig", "", "U U U U P P P P F F", () => ({})),
  // Neither a token nor the master key is this machine's command line.
  row("rotateKey", "", "U U U U P P P P P P", () => ({
    data_encryption_key: Buffer.alloc(32, 1).toString("base64"),
  })),
  // Only the port for this machine's command line knows it; a token is never that command line.
  row("stopServer", "on the public port", "U U U U N N N N N N", () => ({})),
  row("stopServer", "on its own port", "U U U U P P P P P U", () => ({})),
  row("listAudit", "", "U U U U P P P P + +", () => ({})),
  row("issueToken", "", "U U U U P P P P + +", () => ({ group: "x", user: "y" })),
  row("listTokens", "", "U U U U P P P P + +", () => ({})),
  row("revokeToken", "unknown", "U U U U P P P P N N", () => ({ token: "0123456789abcdef" })),
  row("refreshToken", "unknown", "U U U U P P P P N N", () => ({
    ...{ token: "0123456789abcdef", limit: 1 },
  })),
];

test("every operation has a row, and every row a cell for each kind of token", () => {
  const wanted = new Set<string>([...[...Object.keys(operations), "followLog", "stopServer"]]);
  expect(new Set<string>(table.map(({ asks }) => asks))).toEqual(wanted);
  for (const { cells } of table) {
    expect(cells.split(" ").map((cell) => codes[cell] !== undefined)).toEqual(
      holders.map(() => true),
    );
  }
});

const codeOf = async (work: Promise<unknown>): Promise<string> => {
  const thrown = await work.then(
    () => null,
    (error: unknown) => error,
  );
  if (thrown === null) return "done";
  return thrown instanceof DbxError ? thrown.code : `not refused as it should: ${String(thrown)}`;
};

/** Over HTTP, as the route table has it. */
async function overHttp(
  { port: publicPort, control_port }: World,
  { asks, about, input }: { asks: string; about: string; input: object },
  credentials: Readonly<Record<string, string>>,
): Promise<string> {
  const port = about === "on its own port" ? control_port : publicPort;
  const stopping = { method: "POST", path: stopPath };
  const route =
    asks === "stopServer" ? stopping : routes.find(({ operation }) => operation === asks);
  if (route === undefined) throw new Error(`${asks} has a route`);
  const rest: Record<string, unknown> = { ...input };
  const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(rest[name]);
    delete rest[name];
    return encodeURIComponent(value);
  });
  const url = new URL(`http://127.0.0.1:${port}${path}`);
  const inBody = ["POST", "PATCH", "PUT"].includes(route.method);
  if (!inBody)
    for (const [name, value] of Object.entries(rest)) url.searchParams.set(name, String(value));
  const isEmpty = Object.keys(rest).length === 0;
  const response = await fetch(url, {
    method: route.method,
    headers: {
      ...credentials,
      ...(inBody && !isEmpty ? { "content-type": "application/json" } : {}),
    },
    ...(inBody && !isEmpty ? { body: JSON.stringify(rest) } : {}),
  });
  const text = await response.text();
  if (response.ok) return "done";
  const body: unknown = JSON.parse(text);
  return typeof body === "object" && body !== null && "code" in body ? String(body.code) : text;
}

function credentialsOf(holder: Holder, token: string | null): Record<string, string> {
  if (token === null) return {};
  return holder === "master" ? { "x-admin-key": token } : { authorization: `Bearer ${token}` };
}

const isShared = (asks: string): asks is SharedOperation =>
  sharedOperations.some((name) => name === asks);

async function throughCaller(caller: Caller, { asks, input }: Row): Promise<string> {
  const asked = input();
  if (asks === "followLog") {
    const until = new AbortController();
    const first = async (): Promise<void> => {
      for await (const _record of caller.follow({ after: 0 }, until.signal)) until.abort();
    };
    return codeOf(first());
  }
  if (!isShared(asks)) throw new Error(`${asks} is not on every surface`);
  // The union of the inputs is not one that any operation takes.
  const work = caller[asks] as (input: unknown) => Promise<unknown>;
  return codeOf(work(asked));
}

describe.each([engineSurface, restSurface, graphqlSurface, grpcSurface])("$name:", (surface) => {
  let world: World;
  let tokens: Readonly<Record<Holder, string | null>>;

  beforeAll(async () => {
    const clock = manualClock();
    const admin = { enabled: false, bind_addr: "0.0.0.0", master_key_hash: await masterKeyHash };
    world = await openWorld(surface, { system: { now: clock.now }, config: { admin } });
    const { dbx } = world.store;
    for (const key of [inside, outside]) {
      const event: Input<"appendEvent"> = { ...key, event_type: "noted", payload: json("{}") };
      await dbx.appendEvent(root, event);
    }
    await dbx.createSchema(root, { aggregate: "known", events: ["noted"] });
    const issue = async (over: Partial<Input<"issueToken">>) =>
      (await dbx.issueToken(root, { group: "app", user: "u", ...over })).token;
    const revoked = await issue({});
    await dbx.revokeToken(root, { token: revoked });
    tokens = {
      none: null,
      garbage: `EVT-${"0".repeat(64)}`,
      expired: await issue({ expiration_secs: 1 }),
      revoked,
      spent: await issue({ limit: 0 }),
      read: await issue({ grants: ["read"] }),
      append: await issue({ grants: ["append"] }),
      scoped: await issue({ aggregates: [{ aggregate_type: "mine" }] }),
      admin: world.token,
      master: masterKey,
    };
    clock.advance(2);
  });
  afterAll(() => world[Symbol.asyncDispose]());
  beforeEach(async () => {
    await world.store.dbx.discardStaged(root, { all: true });
    await world.store.dbx.restoreAggregate(root, inside);
  });

  const outcome = async (each: Row, holder: Holder): Promise<string> => {
    const { asks, about } = each;
    const token = tokens[holder];
    if (asks === "followLog" || (isShared(asks) && surface !== restSurface)) {
      return throughCaller(world.as(token), each);
    }
    if (surface === restSurface) {
      const credentials = credentialsOf(holder, token);
      return overHttp(world, { asks, about, input: each.input() }, credentials);
    }
    const { store } = world;
    if (asks === "stopServer") throw new Error("only HTTP has it");
    return codeOf(
      (async () => {
        const actor = store.authenticate(token ?? "");
        return call(store.dbx, { operation: asks, input: each.input(), actor });
      })(),
    );
  };
  const rows = table.filter(
    ({ asks }) =>
      surface === restSurface ||
      asks === "followLog" ||
      isShared(asks) ||
      (surface === engineSurface && asks !== "stopServer" && operations[asks].grant !== null),
  );
  test.each(rows.map((each) => [each.asks, each.about, each] as const))(
    "%s %s",
    async (_asks, _about, each) => {
      const cells = each.cells.split(" ");
      const told: Record<string, string> = {};
      for (const holder of holders) told[holder] = await outcome(each, holder);
      const wanted = holders.map((holder, index) => {
        // Only paths of /admin/ know the master key.
        const isStranger = holder === "master" && surface !== restSurface;
        return [holder, codes[isStranger ? "U" : (cells[index] ?? "")]] as const;
      });
      expect(told).toEqual(Object.fromEntries(wanted) as Record<string, string>);
    },
  );
});
