// Plugins of a real store with a real receiver: what arrives, in which order, across restarts,
// outages and refusals; and what can be done about what did not arrive.

import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import type { Config } from "../../src/model/config.ts";
import { limits } from "../../src/model/limits.ts";
import { startReceiver, type Receiver } from "../support/receiver.ts";
import { openStore, root, type TestStore } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const name = "web";

const append = (store: TestStore, aggregate_id: string, payload: unknown = { n: 1 }) =>
  store.dbx.appendEvent(root, {
    ...{ aggregate_type: "patient", aggregate_id, event_type: "noted" },
    payload: canonicalOf(payload),
  });

const serve = (path: string, config: Partial<Config> = {}) =>
  openStore(path, { plugins: true, config });

const put = (store: TestStore, { config }: Pick<Receiver, "config">, over: object = {}) =>
  store.dbx.putPlugin(root, { name, config, ...over });

const versionsOf = ({ arrived }: Pick<Receiver, "arrived">, id: string): number[] =>
  arrived.filter(({ aggregate_id }) => aggregate_id === id).map(({ version }) => version);

/** Looks again with each turn until it holds; bounded by the test's own time. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise<void>((resolve) => setImmediate(resolve));
}

const plugin = async (store: TestStore) => {
  const [found] = await store.dbx.listPlugins(root, {});
  if (found === undefined) throw new Error("there is no plugin");
  return found;
};

test("what is appended arrives once, in order, numbered, from the next event on", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  await using store = await serve(dir.path);
  await append(store, "before");
  const made = await put(store, receiver);
  expect(made).toMatchObject({ created: true, enabled: true, checkpoint: 1, lag: 0 });

  const records = [];
  for (let n = 0; n < 40; n++) records.push(await append(store, `p-${n % 3}`, { n }));
  await receiver.until(40);

  for (const id of ["p-0", "p-1", "p-2"]) {
    const versions = versionsOf(receiver, id);
    expect(versions).toEqual(versions.map((_, index) => index + 1));
  }
  expect(receiver.arrived.map(({ event_id }) => event_id).sort()).toEqual(
    records.map(({ metadata }) => metadata.event_id).sort(),
  );
  expect(new Set(receiver.arrived.map(({ number }) => number)).size).toBe(40);
  await until(async () => (await plugin(store)).lag === 0);
  expect(await plugin(store)).toMatchObject({ checkpoint: 41, delivered: 40, pending: 0 });
  const { figures } = await store.dbx.serverStatus(root, {});
  expect(figures).toMatchObject({ plugins: 1, plugins_lag_max: 0, deliveries_pending: 0 });
});

test("a receiver that never answers slows no append, and ends with the server", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  receiver.answer = () => "hang";
  const store = await serve(dir.path);
  await put(store, receiver);

  for (let n = 0; n < 300; n++) await append(store, `p-${n}`);

  expect(receiver.arrived).toEqual([]);
  await store.close();
});

test("a plugin goes on where it was: after a restart, and after it was disabled", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  const first = await serve(dir.path);
  await append(first, "a");
  await put(first, receiver, { from_beginning: true });
  await until(async () => (await plugin(first)).lag === 0);
  await first.close();
  const command = await openStore(dir.path);
  await append(command, "a");
  expect(await plugin(command)).toMatchObject({ state: "stopped", lag: 1 });
  await command.close();

  await using second = await serve(dir.path);
  await until(async () => (await plugin(second)).lag === 0);
  await second.dbx.disablePlugin(root, { name });
  await append(second, "a");
  expect(await plugin(second)).toMatchObject({ state: "disabled", lag: 1 });
  await second.dbx.enablePlugin(root, { name });
  await receiver.until(3);

  expect(versionsOf(receiver, "a")).toEqual([1, 2, 3]);
});

test("what a receiver misses while it is away arrives when it is back", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  await using store = await serve(dir.path);
  await put(store, receiver);
  await append(store, "a");
  await until(async () => (await plugin(store)).lag === 0);
  await receiver.leave();
  for (let n = 0; n < 100; n++) await append(store, n % 2 === 0 ? "a" : "b");
  await until(async () => (await plugin(store)).state === "away");
  expect((await plugin(store)).last_error).toContain("127.0.0.1");

  receiver.back();
  await receiver.until(101);

  expect(versionsOf(receiver, "a")).toEqual(Array.from({ length: 51 }, (_, index) => index + 1));
  await until(async () => (await plugin(store)).lag === 0);
  expect(await plugin(store)).toMatchObject({ pending: 0, dead: 0 });
}, 20_000);

test("what is refused too often is dead, listed, and tried again by hand", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  await using store = await serve(dir.path, { plugin_max_attempts: 1 });
  await put(store, receiver);
  receiver.answer = ({ aggregate_id }) => (aggregate_id === "bad" ? 422 : 200);
  const bad = await append(store, "bad");
  await append(store, "good");
  await receiver.until(1);
  await until(async () => (await plugin(store)).dead === 1);

  const { dead, deliveries } = await store.dbx.listQueue(root, { dead: true });
  expect([dead, deliveries.length]).toEqual([1, 1]);
  expect(deliveries[0]).toMatchObject({
    ...{ plugin: name, event_id: bad.metadata.event_id, attempts: 1, next_attempt_at: null },
    last_error: expect.stringContaining("422"),
  });
  const again = await store.dbx.retryQueue(root, {});
  expect(again).toMatchObject({ succeeded: 0, failed: 1, remaining: 0, skipped: [] });
  expect(again.faults[0]).toMatchObject({ plugin: name, event_id: bad.metadata.event_id });
  receiver.answer = () => 200;
  const { event_id } = bad.metadata;
  const retried = await store.dbx.retryQueue(root, { event_id: event_id.toUpperCase() });
  expect(retried).toMatchObject({ succeeded: 1, failed: 0 });
  expect((await plugin(store)).dead).toBe(0);
  expect(versionsOf(receiver, "bad")).toEqual([1]);
});

test("without a server a command tests, replays, retries and clears", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  const server = await serve(dir.path, { plugin_max_attempts: 1 });
  await put(server, receiver);
  receiver.answer = () => 422;
  await append(server, "a");
  await append(server, "b");
  await until(async () => (await plugin(server)).dead === 2);
  await server.close();
  receiver.answer = ({ aggregate_id }) => (aggregate_id === "b" ? 422 : 200);

  await using store = await openStore(dir.path);
  expect(await store.dbx.testPlugins(root, {})).toMatchObject([{ name, type: "http", ok: true }]);
  const retried = await store.dbx.retryQueue(root, {});
  expect(retried).toMatchObject({ succeeded: 1, failed: 1 });
  expect(await store.dbx.clearQueue(root, {})).toEqual({ cleared: 1 });
  const key = { aggregate_type: "patient", aggregate_id: "a" };
  const replayed = await store.dbx.replayPlugin(root, { name, ...key });
  expect(replayed).toMatchObject({ delivered: 1, next: null });
  // The sample event, the retry, the replay.
  expect(receiver.arrived.map(({ aggregate_id }) => aggregate_id)).toEqual(["p-001", "a", "a"]);
  const trail = await store.dbx.listAudit(root, {});
  expect(trail.map(({ action }) => action).join(" ")).toBe(
    "plugin.config queue.retry queue.clear plugin.replay",
  );
});

test("a replay goes page by page, stops at a fault, and goes on from there", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  await using store = await serve(dir.path);
  for (let n = 0; n < 30; n++) await append(store, `p-${n % 3}`);
  await put(store, receiver);
  const ask = (after: string | null) =>
    store.dbx.replayPlugin(root, {
      ...{ name, aggregate_type: "patient", take: 4 },
      ...(after === null ? {} : { after }),
    });
  let refused = false;
  receiver.answer = ({ aggregate_id, version }) => {
    if (refused || aggregate_id !== "p-1" || version !== 7) return 200;
    refused = true;
    return 422;
  };

  let next: string | null = null;
  const errors: (string | null)[] = [];
  let delivered = 0;
  do {
    const page = await ask(next);
    next = page.next;
    delivered += page.delivered;
    errors.push(page.error);
  } while (next !== null);

  expect(delivered).toBe(30);
  expect(errors.filter((error) => error !== null)).toEqual([expect.stringContaining("422")]);
  for (const id of ["p-0", "p-1", "p-2"])
    expect(versionsOf(receiver, id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(await plugin(store)).toMatchObject({ checkpoint: 30, sequence: 30 });
  const wrong = store.dbx.replayPlugin(root, { name, aggregate_type: "patient", after: "x" });
  expect(await wrong.catch((error: unknown) => error)).toMatchObject({ code: "invalid_argument" });
});

test("what is erased is not delivered any more, and what waits of it is dropped", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  const data_encryption_key = Buffer.alloc(32, 1).toString("base64");
  await using store = await serve(dir.path, { data_encryption_key });
  await put(store, receiver);
  receiver.answer = () => 422;
  await append(store, "a", { secret: "gone" });
  await append(store, "a", { secret: "gone" });
  await until(async () => (await plugin(store)).pending === 2);
  receiver.answer = () => 200;
  const key = { aggregate_type: "patient", aggregate_id: "a" };

  await store.dbx.eraseAggregate(root, { ...key, reason: "asked for" });
  await receiver.until(1);

  await until(async () => (await plugin(store)).lag === 0);
  const { pending, dropped } = await plugin(store);
  const seen = receiver.arrived.map(({ payload }) => JSON.stringify(payload)).join();
  // A retry may have come in before the erasure; nothing of it comes after.
  if (!seen.includes("gone")) {
    expect([pending, dropped]).toEqual([0, 2]);
    expect(await store.dbx.listAudit(root, { action: "queue.drop" })).toHaveLength(1);
  }
  expect(versionsOf(receiver, "a").at(-1)).toBe(3);
});

test("secrets are shown nowhere, and what is encrypted is in no copy", async () => {
  using dir = tempDir();
  const secret = "s3cret-value";
  for (const data_encryption_key of [undefined, Buffer.alloc(32, 1).toString("base64")]) {
    const path = join(dir.path, data_encryption_key === undefined ? "plain" : "sealed");
    await using receiver = startReceiver({ authorization: secret });
    const config = data_encryption_key === undefined ? {} : { data_encryption_key };
    const store = await serve(path, { ...config, plugin_max_attempts: 1 });
    const shown = await put(store, receiver, {
      config: { ...receiver.config, secret, endpoint: `http://u:${secret}@127.0.0.1:9/x` },
      enabled: false,
    });
    expect(shown.config).toMatchObject({ headers: { authorization: "set" }, secret: "set" });
    await put(store, receiver);
    receiver.answer = () => 422;
    await append(store, "a");
    await until(async () => (await plugin(store)).dead === 1);
    const trail = JSON.stringify(await store.dbx.listAudit(root, {}));
    const listed = JSON.stringify(await store.dbx.listPlugins(root, {}));
    await store.close();

    const plugins = readFileSync(join(path, "plugins.json"), "utf8");
    const queue = readFileSync(join(path, "plugin_queue.json"), "utf8");
    for (const text of [trail, listed, plugins, queue]) expect(text).not.toContain(secret);
    expect(statSync(join(path, "plugins.json")).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, "plugin_queue.json")).mode & 0o777).toBe(0o600);
    const { type, ...rest } = shown.config;
    expect(JSON.parse(plugins)).toMatchObject([{ enabled: true, name, config: { type } }]);
    expect(Object.keys(JSON.parse(plugins)[0])).toEqual(["enabled", "name", "config"]);
    expect(JSON.parse(queue)).toMatchObject({
      ...{ pending: 0, dead: 1, pending_events: [] },
      dead_events: [{ aggregate_type: "patient", aggregate_id: "a", attempts: 1, plugin: name }],
    });
    // Any three digits may be in an id.
    const told = JSON.stringify({ ...JSON.parse(queue).dead_events[0], event_id: null });
    expect(told.includes("422")).toBe(data_encryption_key === undefined);
    if (data_encryption_key === undefined) continue;
    expect(plugins).not.toContain("endpoint");
    expect(Object.keys(rest)).toContain("endpoint");
  }
});

test("a plugin that is ahead of the log begins at its end", async () => {
  using dir = tempDir();
  using other = tempDir();
  await using receiver = startReceiver();
  const long = await serve(dir.path);
  for (let n = 0; n < 5; n++) await append(long, "a");
  await put(long, receiver);
  await long.close();
  const short = await openStore(other.path);
  await append(short, "b");
  await short.close();
  await Bun.write(join(other.path, "plugins.db"), Bun.file(join(dir.path, "plugins.db")));

  await using store = await serve(other.path);
  expect(await plugin(store)).toMatchObject({ checkpoint: 1, lag: 0 });
  await append(store, "b");
  await receiver.until(1);

  expect(versionsOf(receiver, "b")).toEqual([2]);
});

test("plugins and their queue can be read where nothing may be written", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  const writing = await openStore(dir.path);
  await put(writing, receiver);
  await writing.close();

  await using store = await openStore(dir.path, { access: "read" });
  expect(await plugin(store)).toMatchObject({ name, state: "stopped" });
  expect(await store.dbx.listQueue(root, {})).toMatchObject({ pending: 0, dead: 0 });
  const refused = await put(store, receiver).catch((error: unknown) => error);
  expect(refused).toMatchObject({ code: "failed_precondition" });
});

test("there are as many plugins as there may be, and no more", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const config = { type: "log", level: "info", template: null } as const;
  const putOne = (n: number) =>
    store.dbx.putPlugin(root, { name: `p${n}`, config, enabled: false });
  for (let n = 0; n < limits.plugins_max; n++) await putOne(n);

  const refused = await putOne(limits.plugins_max).catch((error: unknown) => error);

  expect(refused).toMatchObject({ code: "failed_precondition", details: { limit: 100 } });
  expect(await putOne(7)).toMatchObject({ created: false });
}, 30_000);

test("verify looks at plugins.db, too", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  await using store = await openStore(dir.path);
  await put(store, receiver);
  expect(await store.dbx.verifyLog(root, {})).toMatchObject({ position: 0 });
  using database = new Database(join(dir.path, "plugins.db"));
  database.run("UPDATE plugin SET pending = 3");

  const error = await store.dbx.verifyLog(root, {}).catch((thrown: unknown) => thrown);

  expect(error).toMatchObject({ code: "data_corrupted" });
  expect(String(error)).toContain("plugins.db: the outbox of web is not counted right");
});

test("a store without plugins has no file of theirs", async () => {
  using dir = tempDir();
  const store = await serve(dir.path);
  await append(store, "a");
  expect(await store.dbx.listPlugins(root, {})).toEqual([]);
  expect(await store.dbx.listQueue(root, {})).toMatchObject({ pending: 0, deliveries: [] });
  await store.close();
  for (const file of ["plugins.db", "plugins.json", "plugin_queue.json"])
    expect(existsSync(join(dir.path, file))).toBe(false);
});

test("names, kinds and states decide what is refused", async () => {
  using dir = tempDir();
  await using receiver = startReceiver();
  await using store = await serve(dir.path);
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => "done",
      (error: { code: string }) => error.code,
    );
  const log = { type: "log", level: "info", template: null } as const;
  const { dbx } = store;
  await put(store, receiver);

  expect(await codeOf(dbx.putPlugin(root, { name, config: log }))).toBe("already_exists");
  expect(await codeOf(put(store, receiver, { from_beginning: true }))).toBe("invalid_argument");
  const nowhere = { type: "http", endpoint: "http://[", headers: {}, https: false } as const;
  expect(await codeOf(put(store, { config: nowhere }))).toBe("invalid_argument");
  expect(await codeOf(dbx.removePlugin(root, { name }))).toBe("failed_precondition");
  await receiver.leave();
  expect(await codeOf(put(store, receiver, { enabled: true }))).toBe("failed_precondition");
  expect(await codeOf(dbx.enablePlugin(root, { name }))).toBe("failed_precondition");
  expect(await dbx.testPlugins(root, {})).toMatchObject([{ name, ok: false }]);
  await dbx.disablePlugin(root, { name });
  const replay = dbx.replayPlugin(root, { name, aggregate_type: "patient" });
  expect(await codeOf(replay)).toBe("failed_precondition");
  expect(await codeOf(dbx.listQueue(root, { plugin: "none" }))).toBe("not_found");
  await dbx.removePlugin(root, { name });
  const trail = await dbx.listAudit(root, { action: "plugin" });
  expect(trail.map(({ action, subject }) => `${action} ${subject}`)).toEqual([
    ...["plugin.config web", "plugin.disable web", "plugin.remove web"],
  ]);
});
