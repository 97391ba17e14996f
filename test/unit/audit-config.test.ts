// Changes of the configuration are in the audit trail: which keys, their new values, by whom,
// before they hold; never a secret, and nothing where nothing changed.

import { expect, test } from "bun:test";
import type { Actor } from "../../src/model/actor.ts";
import type { Config } from "../../src/model/config.ts";
import { toldSettings } from "../../src/model/config-values.ts";
import { openStore, root, testConfig } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

const jane: Actor = { ...root, group: "admin", user: "jane" };
const dek = "hqsVh2tQaMPfKnHxPTvnuM9CQUiHhTSEpHFcxFFNLwo=";
const otherDek = "bNLv1SxGSAUVKKhHmq2gk2MszXfbnBvMkuBLU8c3HVM=";

/** What entries of the configuration say, oldest first. */
async function told(store: Awaited<ReturnType<typeof openStore>>) {
  const trail = await store.dbx.listAudit(root, { action: "config" });
  return trail.map(({ issued_by, subject, details, ...entry }) => ({
    by: issued_by?.user,
    changed: JSON.parse(details).changed,
    settings: JSON.parse(details).settings,
    rest: [entry.action, entry.aggregate_type, subject, entry.comment],
  }));
}

test("what has changed since the trail last said so is told, and nothing else", async () => {
  using dir = tempDir();
  let config: Partial<Config> = { page_limit: 500, bind_addr: "127.0.0.1" };
  const reload = async () => testConfig(dir.path, config);
  const first = testConfig(dir.path, config);
  const usual = toldSettings(testConfig(dir.path), { data_dir: dir.path });
  {
    await using store = await openStore(dir.path, { reload, config });
    expect(await told(store)).toEqual([]);
    await store.tellSettings(root, first);
    await store.tellSettings(root, first);
    await store.dbx.reloadConfig(jane, {});
    const [entry, ...more] = await told(store);
    expect(more).toEqual([]);
    // Nothing was told before: what is not at its default has changed.
    expect(entry).toEqual({
      by: "cli:test",
      changed: { ...usual, page_limit: 500 },
      settings: { ...usual, page_limit: 500 },
      rest: ["config.change", null, null, null],
    });

    config = { bind_addr: "127.0.0.1", rate_limit: { per_token: 3 } };
    await store.dbx.reloadConfig(jane, {});
  }
  await using store = await openStore(dir.path, { reload, config });
  await store.tellSettings(root, testConfig(dir.path, config));
  const [, second, ...more] = await told(store);
  expect(more).toEqual([]);
  expect(second).toMatchObject({ by: "jane", changed: { page_limit: 1000 } });
  expect(second?.changed).toEqual({ page_limit: 1000, "rate_limit.per_token": 3 });
  expect(second?.settings).toEqual({ ...usual, "rate_limit.per_token": 3 });

  // What a start finds that nobody told: an edit by hand.
  config = {};
  await store.tellSettings(root, await reload());
  expect((await told(store)).at(-1)).toMatchObject({
    by: "cli:test",
    changed: { "rate_limit.per_token": null },
  });
  expect((await store.dbx.verifyLog(root, {})).position).toBe(0);
});

test("it is told before it holds, and what is refused is not told", async () => {
  using dir = tempDir();
  const next: (() => Config)[] = [
    () => {
      throw new Error("config.toml, line 3: no");
    },
    () => testConfig(dir.path, { page_limit: 7 }),
    () => testConfig(dir.path, { page_limit: 8 }),
  ];
  const reload = async () => (next.shift() ?? (() => testConfig(dir.path)))();
  await using store = await openStore(dir.path, { reload });
  await store.tellSettings(root, testConfig(dir.path));

  const [refused, ...done] = await Promise.allSettled([
    store.dbx.reloadConfig(jane, {}),
    store.dbx.reloadConfig(jane, {}),
    store.dbx.reloadConfig(jane, {}),
  ]);

  expect(refused?.status).toBe("rejected");
  expect(done.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled"]);
  const changes = (await told(store)).slice(1).map(({ changed }) => changed);
  expect(changes).toEqual([{ page_limit: 7 }, { page_limit: 8 }]);
  expect(store.settings().page_limit).toBe(8);

  // Nothing can be told any more, so nothing is followed.
  await store.close();
  const answer = store.dbx.reloadConfig(jane, {}).then(
    () => "followed",
    () => "refused",
  );
  expect(await answer).toBe("refused");
  expect(store.settings().page_limit).toBe(8);
});

test("of secrets it is told that they are set, changed or gone, and never which they are", async () => {
  using dir = tempDir();
  const { admin } = testConfig(dir.path);
  const hashOf = () => Bun.password.hash("planted master key", { algorithm: "argon2id" });
  const hash = await hashOf();
  const hashes = [hash, hash, await hashOf(), undefined];
  await using store = await openStore(dir.path);
  await store.tellSettings(root, testConfig(dir.path));
  for (const [n, key] of [dek, dek, otherDek, undefined].entries()) {
    const master_key_hash = hashes[n];
    await store.tellSettings(
      root,
      testConfig(dir.path, {
        ...(key === undefined ? {} : { data_encryption_key: key }),
        admin: { ...admin, ...(master_key_hash === undefined ? {} : { master_key_hash }) },
      }),
    );
  }

  const [, ...entries] = await told(store);
  expect(entries.map(({ changed }) => changed)).toEqual([
    { data_encryption_key: "set", "admin.master_key_hash": "set" },
    { data_encryption_key: "changed", "admin.master_key_hash": "changed" },
    { data_encryption_key: null, "admin.master_key_hash": null },
  ]);
  for (const { settings } of entries.slice(0, 2)) {
    expect(settings.data_encryption_key).toMatch(/^set:[0-9a-f]{16}$/);
    expect(settings["admin.master_key_hash"]).toMatch(/^set:[0-9a-f]{16}$/);
  }
  const text = JSON.stringify(entries);
  for (const secret of [dek, otherDek, hash, "planted", "argon2"]) {
    expect(text).not.toContain(secret);
  }
});

test("a store in another directory is the same store; a configuration that leaves it is told", async () => {
  using dir = tempDir();
  using elsewhere = tempDir();
  await using store = await openStore(dir.path);
  await store.tellSettings(root, testConfig(dir.path));
  await store.tellSettings(root, testConfig(elsewhere.path));
  await store.tellSettings(root, testConfig(dir.path));

  expect((await told(store)).slice(1).map(({ changed }) => changed)).toEqual([
    { data_dir: elsewhere.path },
    { data_dir: dir.path },
  ]);
  await using moved = await openStore(elsewhere.path);
  await moved.tellSettings(root, testConfig(elsewhere.path));
  expect((await told(moved))[0]?.changed).not.toHaveProperty("data_dir");
});

test("another data encryption key is told by whoever put it in the place of the first", async () => {
  using dir = tempDir();
  const config = { data_encryption_key: dek };
  {
    await using store = await openStore(dir.path, { config });
    await store.tellSettings(root, testConfig(dir.path, config));
    await store.dbx.rotateKey(root, { data_encryption_key: otherDek });
    expect((await store.dbx.listAudit(root, { action: "key" })).at(-1)?.action).toBe("key.rotate");
    expect((await told(store)).at(-1)).toMatchObject({
      by: "cli:test",
      changed: { data_encryption_key: "changed" },
    });
  }
  const rotated = { data_encryption_key: otherDek };
  await using store = await openStore(dir.path, { config: rotated });
  const before = await told(store);
  await store.tellSettings(jane, testConfig(dir.path, rotated));
  expect(await told(store)).toEqual(before);
});
