// Three nodes that append, archive, erase and bring each other up to date in any order: afterwards
// what could be brought over is the same on both, or it was refused with nothing written.

import { expect, test } from "bun:test";
import fc from "fast-check";
import { DbxError } from "../../src/model/error.ts";
import { bring, openNode, type Node } from "../support/nodes.ts";
import { root } from "../support/store.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

type Step =
  | {
      readonly kind: "append" | "archive" | "restore" | "erase";
      readonly node: number;
      readonly id: number;
    }
  | { readonly kind: "bring"; readonly from: number; readonly to: number; readonly batch: number };

const at = fc.nat({ max: 2 });
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("append" as const), node: at, id: at }) },
  {
    weight: 2,
    arbitrary: fc.record({
      ...{ kind: fc.constantFrom("archive", "restore", "erase"), node: at, id: at },
    }) as fc.Arbitrary<Step>,
  },
  {
    weight: 4,
    arbitrary: fc.record({
      ...{
        kind: fc.constant("bring" as const),
        from: at,
        to: at,
        batch: fc.integer({ min: 1, max: 5 }),
      },
    }),
  },
);

async function run(step: Step, nodes: readonly Node[], forks: { count: number }): Promise<void> {
  if (step.kind === "bring") return brought(step, nodes, forks);
  const node = nodes[step.node]!;
  // Mostly its own aggregate; sometimes another's, and then there may be two histories.
  const key = { aggregate_type: "a", aggregate_id: `n${step.id === 2 ? 2 : step.node}` };
  const { dbx } = node.store;
  const work =
    step.kind === "append"
      ? node.append(key.aggregate_type, key.aggregate_id, { node: step.node })
      : step.kind === "archive"
        ? dbx.archiveAggregate(root, key)
        : step.kind === "restore"
          ? dbx.restoreAggregate(root, key)
          : dbx.eraseAggregate(root, { ...key, reason: "r" });
  await work.catch((error: unknown) => {
    // No such aggregate, or archived: part of the game.
    if (!(error instanceof DbxError)) throw error;
    expect(["not_found", "aggregate_archived", "failed_precondition"]).toContain(error.code);
  });
}

async function brought(
  { from, to, batch }: Extract<Step, { kind: "bring" }>,
  nodes: readonly Node[],
  forks: { count: number },
): Promise<void> {
  if (from === to) return;
  const [source, target] = [nodes[from]!, nodes[to]!];
  const before = [await source.contents(), await target.contents()];
  try {
    await bring(source, target, { batch_events: batch });
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    expect(error.details).toMatchObject({ reason: "fork" });
    expect([await source.contents(), await target.contents()]).toEqual(before);
    forks.count++;
    return;
  }
  expect(await source.contents()).toEqual(before[0]!);
  const after = new Map((await target.contents()).map((one) => [nameOf(one), one]));
  for (const one of before[0]!) {
    const there = after.get(nameOf(one));
    if (versionOf(there) > versionOf(one)) continue;
    expect(there).toEqual(one);
  }
}

const nameOf = (one: unknown): string => (one as { aggregate_id: string }).aggregate_id;
const versionOf = (one: unknown): number => (one as { version: number } | undefined)?.version ?? 0;

test(`any order of push and pull converges, or refuses (SEED=${seed})`, async () => {
  const forks = { count: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 5, maxLength: 40 }), async (steps) => {
      const nodes = [await openNode(), await openNode(), await openNode()];
      try {
        for (const step of steps) await run(step, nodes, forks);
        for (const node of nodes) await node.store.dbx.verifyLog(root, {});
      } finally {
        for (const node of nodes) await node[Symbol.asyncDispose]();
      }
    }),
    { seed, numRuns: 12 },
  );
}, 120_000);
