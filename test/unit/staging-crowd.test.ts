// Many at once who stage: what waits is bounded, closing does not wait for it, and whoever is shut
// out while he waits is not let in.

import { expect, test } from "bun:test";
import { canonicalOf } from "../../src/model/canonical.ts";
import { DbxError } from "../../src/model/error.ts";
import { limits } from "../../src/model/limits.ts";
import { noted, refusalOf, stagedIds } from "../support/staged.ts";
import { openStore, root } from "../support/store.ts";
import { tempDir } from "../support/temp.ts";

/** How many were answered, and the codes of the others. */
async function outcomeOf(steps: readonly Promise<unknown>[]) {
  const settled = await Promise.allSettled(steps);
  const refused = settled.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
  const codes = refused.map((error) => (error instanceof DbxError ? error.code : String(error)));
  return { answered: settled.length - refused.length, codes: new Set(codes) };
}

test("the steps that wait are bounded by count, and told to come back", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { staging_steps_max } = limits;
  const steps = Array.from({ length: staging_steps_max + 10 }, () =>
    store.dbx.listStaged(root, {}),
  );
  const { answered, codes } = await outcomeOf(steps);
  expect([answered, [...codes]]).toEqual([staging_steps_max, ["overloaded"]]);
  expect(await store.dbx.listStaged(root, {})).toEqual([]);
});

test("the payloads that wait are bounded by bytes, and so is what one may add to them", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const payload = canonicalOf("ö".repeat(500_000));
  const most = Math.floor(limits.staging_steps_bytes_max / Buffer.byteLength(payload));
  const steps = Array.from({ length: most + 20 }, () =>
    store.dbx.stageEvent(root, noted("p-1", { payload })),
  );
  const small = store.dbx.stageEvent(root, noted("p-1"));
  const { answered, codes } = await outcomeOf(steps);
  expect([answered, [...codes]]).toEqual([most, ["overloaded"]]);
  await small;
  expect(await stagedIds(store)).toHaveLength(most + 1);
});

test("what can never be staged is refused without waiting", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const order: string[] = [];
  const waiting = store.dbx.stageEvent(root, noted("p-1")).then(() => order.push("staged"));
  const payload = canonicalOf("x".repeat(limits.payload_bytes_default));
  const refusal = await refusalOf(store.dbx.stageEvent(root, noted("p-1", { payload })));
  order.push(refusal.code);
  await waiting;
  expect(order).toEqual(["too_large", "staged"]);
});

test("closing waits for the step that runs, and no longer", async () => {
  using dir = tempDir();
  const store = await openStore(dir.path);
  const steps = Array.from({ length: 100 }, (_, n) => store.dbx.stageEvent(root, noted(`p-${n}`)));
  await store.close();
  const { answered, codes } = await outcomeOf(steps);
  expect([answered, [...codes]]).toEqual([1, ["unavailable"]]);
  await using again = await openStore(dir.path);
  expect(await stagedIds(again)).toHaveLength(1);
});

test("a token that is revoked while its steps wait does nothing any more", async () => {
  using dir = tempDir();
  await using store = await openStore(dir.path);
  const { dbx } = store;
  const { token } = await dbx.issueToken(root, { group: "g", user: "u" });
  const actor = store.authenticate(token);
  const before = Array.from({ length: 100 }, (_, n) => dbx.stageEvent(root, noted(`p-${n}`)));
  const steps = [
    dbx.stageEvent(actor, noted("p-x")),
    dbx.listStaged(actor, {}),
    dbx.discardStaged(actor, { all: true }),
    dbx.commitStaged(actor, {}),
  ];
  const refusals = Promise.all(steps.map((step) => refusalOf(step)));
  // One file is written for it, and a hundred before the token's turn comes.
  await dbx.revokeToken(root, { token });
  for (const { code } of await refusals) expect(code).toBe("unauthenticated");
  await Promise.all(before);
  expect(await stagedIds(store)).toHaveLength(before.length);
});
