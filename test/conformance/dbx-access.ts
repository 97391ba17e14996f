// Who may: tokens that are none, that have ended, that are spent, that lack a grant; and schemas,
// which may refuse whoever it is.

import { expect } from "bun:test";
import type { Input } from "../../src/api/operations.ts";
import { root } from "../support/store.ts";
import { codeOf, eventOf, json, refusal, type Caller, type World } from "../support/surfaces.ts";
import { headOf, type Check } from "./dbx-check.ts";

const key = { aggregate_type: "access", aggregate_id: "a-1" };

/** Everything that a caller may ask for, once. */
const everything = (caller: Caller): (() => Promise<unknown>)[] => [
  () => caller.appendEvent(eventOf("access")),
  () => caller.appendEvents({ events: [eventOf("access")] }),
  () => caller.listAggregates({}),
  () => caller.getAggregate(key),
  () => caller.listEvents(key),
  () => caller.readLog({}),
  () => caller.verifyAggregate(key),
  async () => {
    for await (const each of caller.follow({ after: 0 }, AbortSignal.timeout(5_000))) return each;
    return null;
  },
];

async function issue({ store }: World, over: Partial<Input<"issueToken">> = {}) {
  return store.dbx.issueToken(root, { group: "app", user: "bob", ...over });
}

async function expectStranger(world: World, token: string | null, message: string): Promise<void> {
  await world.admin.appendEvent(eventOf("access"));
  const head = await headOf(world);
  // Over HTTP, whoever sends what can be no token is told what one looks like.
  const overHttp = ["rest", "graphql"].includes(world.surface.name);
  const isHinted = overHttp && token !== null && !token.startsWith("EVT-");
  const hint = "a token is wanted here (EVT-...): a master key opens paths below /admin/ only";
  for (const work of everything(world.as(token))) {
    const error = await refusal(work());
    expect([error.code, error.message, error.details]).toEqual([
      "unauthenticated",
      message,
      isHinted ? { hint } : {},
    ]);
  }
  expect(await headOf(world)).toBe(head);
}

export function access(check: Check, clock: { pass: (ms: number) => void }): void {
  check(
    "nobody gets in without a token",
    (world) => expectStranger(world, null, world.surface.withoutToken),
    "no token",
  );

  check("nobody gets in with a token that dbx did not issue", async (world) => {
    for (const token of ["EVT-0123", "x"]) {
      await expectStranger(world, token, "token not found or inactive");
    }
  });

  check("a token ends when it is revoked", async (world) => {
    const { token, id } = await issue(world);
    await world.as(token).readLog({});
    await world.store.dbx.revokeToken(root, { token: id });
    await expectStranger(world, token, "token not found or inactive");
  });

  check("a token ends when its time is over", async (world) => {
    const { token } = await issue(world, { expiration_secs: 3600 });
    await world.as(token).readLog({});
    clock.pass(3_600_001);
    await expectStranger(world, token, "token has expired");
  });

  check("who may not get in learns nothing of what was wrong besides", async ({ as }) => {
    const wrong = eventOf("access", { aggregate_type: "", note: "x".repeat(200) });
    expect(await codeOf(as("EVT-no").appendEvent(wrong))).toBe("unauthenticated");
  });

  check("a token appends as many events as it may, and reads on", async (world) => {
    const { token } = await issue(world, { limit: 3 });
    const caller = world.as(token);
    const event = eventOf("spent", { event_id: crypto.randomUUID() });
    const record = await caller.appendEvent(event);
    expect(record.metadata.issued_by).toEqual({ group: "app", user: "bob" });
    const three = { events: [eventOf("spent"), eventOf("spent"), eventOf("spent")] };
    expect(await codeOf(caller.appendEvents(three))).toBe("permission_denied");
    await caller.appendEvents({ events: [eventOf("spent"), eventOf("spent")] });
    const error = await refusal(caller.appendEvent(eventOf("spent")));
    expect([error.code, error.message]).toEqual(["permission_denied", "token write limit reached"]);
    // What is repeated costs nothing, and reading never does.
    expect(await caller.appendEvent(event)).toEqual(record);
    expect(await caller.listEvents({ ...key, aggregate_type: "spent" })).toHaveLength(3);
  });

  check("what is hidden is shown to those alone who may administer", async (world) => {
    const { token } = await issue(world);
    const caller = world.as(token);
    const include_hidden = true;
    for (const work of [
      () => caller.listAggregates({ include_hidden }),
      () => caller.getAggregate({ ...key, include_hidden }),
      () => caller.listEvents({ ...key, include_hidden }),
      () => caller.readLog({ include_hidden }),
      () => caller.verifyAggregate({ ...key, include_hidden }),
    ]) {
      const error = await refusal(work());
      expect([error.code, error.details]).toEqual(["permission_denied", { grant: "admin" }]);
    }
  });

  check("what is wrong is told before what is not allowed", async (world) => {
    const { token } = await issue(world, { limit: 0 });
    const caller = world.as(token);
    const wrong = eventOf("access", { aggregate_id: "" });
    expect(await codeOf(caller.appendEvent(wrong))).toBe("invalid_argument");
    expect(await codeOf(caller.appendEvent(eventOf("access")))).toBe("permission_denied");
  });

  schemas(check);
}

function schemas(check: Check): void {
  check("a schema refuses what breaks it, and says where", async ({ admin, store }) => {
    const aggregate = "strict";
    await store.dbx.createSchema(root, { aggregate, events: ["noted"] });
    await store.dbx.changeSchema(root, {
      aggregate,
      columns: { age: "integer" },
      add_fields: { noted: ["age"] },
    });
    const append = (payload: string, event_type = "noted") =>
      admin.appendEvent(eventOf(aggregate, { event_type, payload: json(payload) }));
    expect((await append('{"age":30}')).version).toBe(1);
    for (const [payload, type] of [["{}"], ['{"age":"old"}'], ['{"age":1}', "unknown"]] as const) {
      const work = append(payload, type);
      const error = await refusal(work);
      expect([payload, error.code]).toEqual([payload, "schema_violation"]);
      // In the very words of the engine.
      const own = await refusal(
        store.dbx.appendEvent(root, {
          ...eventOf(aggregate, { payload: json(payload) }),
          ...(type === undefined ? {} : { event_type: type }),
        }),
      );
      expect([error.message, error.details]).toEqual([own.message, own.details]);
    }
    const events = [eventOf("free"), eventOf(aggregate)];
    const batch = await refusal(admin.appendEvents({ events }));
    expect([batch.code, batch.details["index"]]).toEqual(["schema_violation", 1]);
  });
}
