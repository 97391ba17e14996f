// How many master keys are tried, what is remembered, and what of it is told: with a clock and a
// checker of our own.

import { describe, expect, test } from "bun:test";
import { createLog } from "../../src/log.ts";
import { masterKeyActor } from "../../src/model/actor.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { createAdminKey } from "../../src/server/admin-key.ts";
import { realSystem } from "../../src/system.ts";

/** The hash of a key is the key and `#`; checks wait where they are held. */
function world(first: { readonly hash: string | undefined } = { hash: "right#" }) {
  const { resolve: release, promise: held } = Promise.withResolvers<void>();
  const state = {
    hash: first.hash,
    time: 0,
    hold: false,
    running: 0,
    runningMost: 0,
    hashes: new Set<string>(),
    lines: [] as string[],
    release,
  };
  const adminKey = createAdminKey({
    hash: () => state.hash,
    async verify(key, hash) {
      state.hashes.add(hash);
      state.runningMost = Math.max(state.runningMost, ++state.running);
      if (state.hold) await held;
      state.running--;
      if (hash === "broken#") throw new Error("WeakParameters");
      return hash === `${key}#`;
    },
    random: realSystem.random,
    now: () => state.time,
    log: createLog({
      ...{ least: "debug", now: () => "now" },
      write: (line) => void state.lines.push(line),
    }),
  });
  const ask = async (key: string) => {
    try {
      return await adminKey.actorOf(key);
    } catch (error) {
      if (!(error instanceof DbxError)) throw error;
      return { code: error.code, message: error.message, details: error.details };
    }
  };
  return { state, ask, actorOf: adminKey.actorOf, figures: adminKey.figures };
}
type World = ReturnType<typeof world>;

const refused = {
  code: "unauthenticated" as const,
  message: "unauthorized",
  details: { hint: "this master key is not right" },
};
const throttled = (retry_after_ms: number) => ({
  code: "overloaded" as const,
  message: "too many wrong master keys; try again later",
  details: { retry_after_ms },
});

async function spendTries({ ask }: Pick<World, "ask">): Promise<void> {
  for (let count = 0; count < limits.admin_key_tries_max; count++) {
    expect(await ask(`wrong ${count}`)).toEqual(refused);
  }
}

describe.each([
  ["with a key", "right#"],
  ["without one", undefined],
])("wrong keys, %s configured,", (_name, hash) => {
  test("are refused in the same words after the same work", async () => {
    const { state, ask } = world({ hash });
    expect(await ask("wrong")).toEqual(refused);
    const parameters = [...state.hashes].map((each) => each.split("$").slice(0, 4).join("$"));
    expect(parameters).toEqual([hash ?? "$argon2id$v=19$m=19456,t=2,p=1"]);
  });

  test("are tried ten times, and then one every six seconds", async () => {
    const { state, ask, figures } = world({ hash });
    await spendTries({ ask });
    expect(await ask("wrong")).toEqual(throttled(6_000));
    state.time += 2_500;
    expect(await ask("wrong")).toEqual(throttled(3_500));
    state.time += 3_499;
    expect(await ask("wrong")).toEqual(throttled(1));
    expect(figures().admin_key_checks).toBe(limits.admin_key_tries_max);
    state.time += 1;
    expect(await ask("wrong")).toEqual(refused);
    expect(await ask("wrong")).toEqual(throttled(6_000));
    expect(figures()).toEqual({
      ...{ admin_key_checks: 11, admin_key_accepted: 0 },
      ...{ admin_key_refused: 11, admin_key_throttled: 4 },
    });
    // However long nobody asks, there are never more than ten.
    state.time += 86_400_000;
    await spendTries({ ask });
    expect(await ask("wrong")).toEqual(throttled(6_000));
  });

  test("are lines of the log as rare as they are tried, without the key", async () => {
    const { state, ask } = world({ hash });
    for (let count = 0; count < 50; count++) await ask(`guess ${count}`);
    expect(state.lines).toHaveLength(limits.admin_key_tries_max);
    expect(state.lines[0]).toBe(
      `now warn master key refused configured=${hash !== undefined} tried=1 throttled=0\n`,
    );
    expect(state.lines.join()).not.toContain("guess");
  });
});

test("the right key is checked once, and then passes whatever others guess", async () => {
  const { ask, actorOf, figures } = world();
  expect(await ask("right")).toBe(masterKeyActor);
  await spendTries({ ask });
  expect(await ask("wrong")).toEqual(throttled(6_000));
  // At once: nothing has to be waited for.
  expect(actorOf("right")).toBe(masterKeyActor);
  expect(figures()).toMatchObject({ admin_key_checks: 11, admin_key_accepted: 2 });
});

test("right keys cost none of the tries", async () => {
  const { state, ask, figures } = world();
  for (let count = 0; count < 30; count++) {
    state.hash = `right ${count}#`;
    expect(await ask(`right ${count}`)).toBe(masterKeyActor);
  }
  expect(figures().admin_key_checks).toBe(30);
  await spendTries({ ask });
});

test("a key is forgotten with its hash, and known again only by another check", async () => {
  const { state, ask, figures } = world();
  await ask("right");
  state.hash = "other#";
  expect(await ask("right")).toEqual(refused);
  expect(await ask("other")).toBe(masterKeyActor);
  state.hash = "right#";
  expect(await ask("right")).toBe(masterKeyActor);
  state.hash = undefined;
  expect(await ask("right")).toEqual(refused);
  expect(figures().admin_key_checks).toBe(5);
});

test("a key that is replaced while it is checked opens nothing", async () => {
  const { state, ask } = world();
  state.hold = true;
  const asked = ask("right");
  await Promise.resolve();
  state.hash = "other#";
  state.release();
  expect(await asked).toEqual(refused);
});

test("one key is checked at a time, few wait, and the same key is checked once", async () => {
  const { state, ask, figures } = world();
  state.hold = true;
  const asked = [
    ...["a", "b", "right", "c", "d", "e"].map(ask),
    // Those who bring a key that waits already wait with it.
    ...Array.from({ length: 100 }, () => ask("right")),
  ];
  state.release();
  const busy = {
    code: "overloaded" as const,
    message: "too many master keys are being checked; try again",
    details: {},
  };
  const right = Array.from({ length: 100 }, () => masterKeyActor);
  expect(await Promise.all(asked)).toEqual([
    ...[refused, refused, masterKeyActor, refused, busy, busy],
    ...right,
  ]);
  expect(state.runningMost).toBe(1);
  expect(figures()).toEqual({
    ...{ admin_key_checks: limits.admin_key_checks_max, admin_key_accepted: 101 },
    ...{ admin_key_refused: 3, admin_key_throttled: 2 },
  });
});

test("a hash that cannot be computed refuses every key and says so in the log", async () => {
  const { state, ask } = world({ hash: "broken#" });
  expect(await ask("broken")).toEqual(refused);
  expect(await ask("broken")).toEqual(refused);
  expect(state.lines[0]).toBe(
    'now error hash of the master key is unusable reason="Error: WeakParameters"\n',
  );
  state.hash = "right#";
  expect(await ask("right")).toBe(masterKeyActor);
});
