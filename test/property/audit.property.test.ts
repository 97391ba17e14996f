// Random audit trails: whatever is asked for, in either direction and in pages of any size, is what
// a filter by hand leaves of the whole trail.

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Input } from "../../src/api/operations.ts";
import { createAuditReads } from "../../src/engine/audit-reads.ts";
import type { AuditEntry, OtherChange } from "../../src/model/audit.ts";
import { limits } from "../../src/model/limits.ts";
import { createMemoryStorage } from "../../src/storage/memory.ts";
import { root, testConfig } from "../support/store.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

type Asked = Input<"listAudit">;

const days = ["01", "02", "03", "04"].map((day) => `2026-11-${day}T00:00:00.000000Z`);
const anyDay = fc.constantFrom(...days);
const types = ["patient", "token"];
const ids = ["p-1", "p-2"];
/** Mostly not: all conditions together leave nothing. */
const maybe = <T>(value: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: value });

const anyChange: fc.Arbitrary<OtherChange> = fc.record({
  // Not in order: a clock that was set back is no reason to leave an entry out.
  at: anyDay,
  issued_by: fc.constantFrom(
    null,
    { group: "admin", user: "jane" },
    { group: "admin", user: "john" },
    { group: "cli", user: "jane" },
  ),
  comment: fc.constant(null),
  action: fc.constantFrom("erase", "token.issue", "token.revoke", "schema.change", "key.rotate"),
  aggregate: fc.option(
    fc.record({ aggregate_type: fc.constantFrom(...types), aggregate_id: fc.constantFrom(...ids) }),
  ),
  subject: fc.constantFrom(null, "patient", "0123456789abcdef"),
  details: fc.constant(null),
});

const anySelection: fc.Arbitrary<Asked> = fc
  .record({
    action: maybe(fc.constantFrom("erase", "token", "token.issue", "schema", "key.rotate")),
    of: maybe(
      fc.record({
        aggregate_type: fc.constantFrom(...types),
        aggregate_id: maybe(fc.constantFrom(...ids)),
      }),
    ),
    subject: maybe(fc.constantFrom("patient", "nobody")),
    group: maybe(fc.constantFrom("admin", "cli")),
    user: maybe(fc.constantFrom("jane", "john")),
    since: maybe(anyDay),
    until: maybe(anyDay),
    after: maybe(fc.nat({ max: 45 })),
    before: maybe(fc.nat({ max: 45 })),
    order: maybe(fc.constantFrom("asc" as const, "desc" as const)),
  })
  .map(({ of, ...asked }) => known({ ...asked, ...of }));

/** Without the members that are not there. */
const known = (asked: object): Asked =>
  Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));

/** By hand: each condition by itself. */
function chosen(trail: readonly AuditEntry[], asked: Asked): AuditEntry[] {
  const { action, since, until, after, before } = asked;
  let left = [...trail];
  if (action !== undefined) {
    left = left.filter((entry) => [entry.action, entry.action.split(".")[0]].includes(action));
  }
  for (const name of ["aggregate_type", "aggregate_id", "subject"] as const) {
    if (asked[name] !== undefined) left = left.filter((entry) => entry[name] === asked[name]);
  }
  for (const name of ["group", "user"] as const) {
    if (asked[name] === undefined) continue;
    left = left.filter(({ issued_by }) => issued_by !== null && issued_by[name] === asked[name]);
  }
  if (since !== undefined) left = left.filter(({ at }) => Date.parse(at) >= Date.parse(since));
  if (until !== undefined) left = left.filter(({ at }) => Date.parse(at) < Date.parse(until));
  if (after !== undefined) left = left.filter(({ entry }) => entry > after);
  if (before !== undefined) left = left.filter(({ entry }) => entry < before);
  return asked.order === "desc" ? left.reverse() : left;
}

function reading() {
  const storage = createMemoryStorage({ sealing: "none" });
  const settings = { current: () => testConfig("unused") };
  return { storage, ...createAuditReads({ storage, settings }) };
}

test("a filtered trail is the trail filtered by hand, page by page in either direction", async () => {
  console.info(`seed ${seed} (SEED=${seed} repeats it)`);
  let found = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyChange, { maxLength: 40, size: "large" }),
      anySelection,
      fc.integer({ min: 1, max: 7 }),
      async (changes, asked, take) => {
        const { storage, listAudit } = reading();
        for (const change of changes) await storage.record(change);
        const whole = await storage.readAudit({ after: 0, limit: 100 });
        const wanted = chosen(whole, asked);

        expect(await listAudit(root, asked)).toEqual(wanted);

        const pages: AuditEntry[] = [];
        const from = asked.order === "desc" ? "before" : "after";
        for (let next: Asked = asked; pages.length <= wanted.length;) {
          const page = await listAudit(root, { ...next, take });
          if (page.length === 0) break;
          expect(page.length).toBe(Math.min(take, wanted.length - pages.length));
          pages.push(...page);
          next = { ...next, [from]: page.at(-1)?.entry };
        }
        expect(pages).toEqual(wanted);
        found += wanted.length;
      },
    ),
    { seed, numRuns: 400 },
  );
  // Else it would have been about nothing.
  expect(found).toBeGreaterThan(500);
});

test("a page is filled whatever lies between, and others run meanwhile", async () => {
  const { storage, listAudit } = reading();
  const change = { at: days[0] ?? "", issued_by: null, comment: null, aggregate: null };
  const far = 3 * limits.scan_rows_max;
  for (let n = 0; n <= far; n++) {
    const action = n % far === 0 ? "key.rotate" : "token.issue";
    await storage.record({ ...change, action, subject: null, details: null });
  }
  let turns = 0;
  const count = () => {
    turns++;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);

  for (const order of ["asc", "desc"] as const) {
    turns = 0;
    const page = await listAudit(root, { action: "key", take: 2, order });
    expect(page.map(({ entry }) => entry).sort((a, b) => a - b)).toEqual([1, far + 1]);
    expect(turns).toBeGreaterThanOrEqual(2);
  }
  clearImmediate(counting);
});
