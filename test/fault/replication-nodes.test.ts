// Two and three nodes that push and pull over ways that break, while commands and servers are
// killed: whatever happens, each aggregate of a node is a prefix of what it was brought from, and
// in the end all have the same, or refuse for a fork.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import { createDice, type Dice } from "../fuzz/dice.ts";
import { dbxCommand, type RunningServer } from "../support/cli.ts";
import { openWay, type Trouble, type Way } from "../support/cutting.ts";
import { openHome, type Home, type Row } from "../support/homes.ts";
import { openStore, root } from "../support/store.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));
/** How many times something is brought over. */
const steps = Number(process.env["FAULT_STEPS"] ?? 8);

interface Node extends AsyncDisposable {
  readonly name: string;
  readonly home: Home;
  /** Null where it has none, and is never called. */
  server: RunningServer | null;
  readonly way: Way;
  readonly restart: () => Promise<void>;
}

test.each([
  ["two nodes, one without a server", ["a"], ["b"]],
  ["three nodes", [], ["a", "b", "c"]],
])(
  "%s",
  async (_, silent, serving) => {
    console.log(`SEED=${seed}`);
    const dice = createDice(seed);
    await using stack = new AsyncDisposableStack();
    const nodes: Node[] = [];
    for (const name of [...silent, ...serving]) {
      nodes.push(stack.use(await openNode(name)));
    }
    for (const node of nodes) {
      await append(node, "own", { count: 100, of: 3, dice });
      if (serving.includes(node.name)) await node.restart();
    }
    await introduceAll(nodes);
    const told = { done: 0, troubled: 0, forks: 0 };
    for (let step = 0; step < steps; step++) {
      if (dice.chance(0.7)) {
        const node = dice.pick(nodes);
        const type = dice.pick(["own", "own", ...shared, ...shared]);
        await append(node, type, { count: 1 + dice.below(8), of: 2, dice });
      }
      const called = dice.pick(nodes.filter(({ server }) => server !== null));
      const caller = dice.pick(nodes.filter((node) => node !== called));
      const code = await bring({ caller, called, dice });
      told[code === 0 ? "done" : code === 4 ? "forks" : "troubled"]++;
    }
    await settle(nodes);
    console.log(JSON.stringify(told));
  },
  120_000,
);

/** Types that every node appends to: some of them fork. */
const shared = ["shared-1", "shared-2", "shared-3", "shared-4"];

/** Pushes or pulls something, and lets something happen meanwhile. Out: the exit code. */
async function bring(ends: { caller: Node; called: Node; dice: Dice }): Promise<number | null> {
  const { caller, called, dice } = ends;
  const way = dice.pick(["push", "pull"]);
  const [from, to] = way === "push" ? [caller, called] : [called, caller];
  const types = dice.pick([[], ["own"], ["own", dice.pick(shared)], shared]);
  const batch = String(1 + dice.below(40));
  const before = { from: from.home.rows(), to: to.home.rows() };
  const flags = types.flatMap((type) => ["--aggregate", type]);
  const { command, options } = dbxCommand([way, called.name, "--batch-size", batch, ...flags], {
    home: caller.home.path,
  });
  const happens = dice.pick(["nothing", "cut", "cut", "caller", "called", "caller's server"]);
  const doomed: Node[] = [];
  // The command is begun after this, and before any byte passes.
  const begun: { kill: () => void }[] = [];
  // Within the greeting, TLS, the comparison and the events, each about as often.
  const after_bytes = Math.floor(2 ** (7 + dice.below(1_050) / 100));
  const happened = called.way.plan({
    after: happens === "nothing" ? Infinity : after_bytes,
    piece: dice.pick([after_bytes < 5_000 && happens !== "nothing" ? 7 : 500, 2_000, 65_536]),
    happen: () => {
      if (happens === "caller") for (const one of begun) one.kill();
      if (happens === "called") doomed.push(called);
      if (happens === "caller's server" && caller.server !== null) doomed.push(caller);
      for (const { server } of doomed) server?.kill("SIGKILL");
    },
  } satisfies Trouble);
  const child = Bun.spawn(command, { ...options, stdout: "ignore", stderr: "pipe" });
  begun.push({ kill: () => child.kill("SIGKILL") });
  const [stderr] = await Promise.all([child.stderr.text(), child.exited]);
  // What has not happened by now does not happen to somebody else.
  called.way.plan(null);
  const code = child.signalCode === null ? child.exitCode : null;
  for (const node of doomed) await node.restart();
  await to.home.ok("aggregate", "verify", "--all");

  const after = { from: from.home.rows(), to: to.home.rows() };
  const what = { way, caller: caller.name, called: called.name, types, batch, happens, stderr };
  const chosen = (rows: readonly Row[]) => aggregatesOf(rows, types);
  const isForked = forksOf(chosen(before.from), chosen(before.to)).length > 0;
  expect({ ...what, rows: after.from }).toEqual({ ...what, rows: before.from });
  if (isForked) expect({ ...what, rows: after.to }).toEqual({ ...what, rows: before.to });
  if (!happened()) expect({ ...what, code }).toEqual({ ...what, code: isForked ? 4 : 0 });
  else expect([0, 4, 7, null]).toContain(code);
  if (code === 4) expect({ ...what, isForked }).toEqual({ ...what, isForked: true });
  requirePrefixes(
    { before: aggregatesOf(before.to), after: aggregatesOf(after.to) },
    { source: chosen(before.from), whole: code === 0 },
  );
  return code;
}

type Aggregates = ReadonlyMap<string, readonly Row[]>;

const aggregatesOf = (rows: readonly Row[], types: readonly string[] = []): Aggregates =>
  Map.groupBy(
    rows.filter(({ aggregate }) => types.length === 0 || types.includes(typeOf(aggregate))),
    ({ aggregate }) => aggregate,
  );
const typeOf = (aggregate: string): string => aggregate.split("/")[0] ?? "";

const isPrefix = (short: readonly Row[], long: readonly Row[]): boolean =>
  short.length <= long.length && Bun.deepEquals(short, long.slice(0, short.length));

const forksOf = (left: Aggregates, right: Aggregates): string[] =>
  [...left].flatMap(([name, rows]) => {
    const others = right.get(name) ?? [];
    return isPrefix(rows, others) || isPrefix(others, rows) ? [] : [name];
  });

/** What came is the next piece of the source's history; all of it, where it is whole. */
function requirePrefixes(
  target: { readonly before: Aggregates; readonly after: Aggregates },
  { source, whole }: { readonly source: Aggregates; readonly whole: boolean },
): void {
  for (const [name, rows] of target.after) {
    const [had, theirs] = [target.before.get(name) ?? [], source.get(name) ?? []];
    expect(rows.map(({ version }) => version)).toEqual(rows.map((_, index) => index + 1));
    expect({ name, kept: isPrefix(had, rows) }).toEqual({ name, kept: true });
    if (rows.length === had.length) continue;
    expect({ name, theirs: isPrefix(rows, theirs) }).toEqual({ name, theirs: true });
  }
  const names = (aggregates: Aggregates) => [...aggregates.keys()];
  expect(names(target.after)).toEqual(expect.arrayContaining(names(target.before)));
  if (!whole) return;
  for (const [name, rows] of source) {
    const has = target.after.get(name) ?? [];
    expect({ name, whole: isPrefix(rows, has) }).toEqual({ name, whole: true });
  }
}

/** Everything once around: what is not forked is the same everywhere, the rest is refused. */
async function settle(nodes: readonly Node[]): Promise<void> {
  const forked = new Set(
    nodes.flatMap(({ home: left }) =>
      nodes.flatMap(({ home: right }) =>
        forksOf(aggregatesOf(left.rows()), aggregatesOf(right.rows())).map(typeOf),
      ),
    ),
  );
  const whole = ["own", ...shared].filter((type) => !forked.has(type));
  const flags = whole.flatMap((type) => ["--aggregate", type]);
  const hub = nodes.at(-1);
  if (hub === undefined) throw new Error("there are nodes");
  const others = nodes.filter((node) => node !== hub);
  for (const node of others) await node.home.ok("push", hub.name, ...flags);
  for (const node of others) await node.home.ok("pull", hub.name, ...flags);
  for (const node of others) {
    expect(node.home.rows(...whole)).toEqual(hub.home.rows(...whole));
    const isForked = forksOf(aggregatesOf(node.home.rows()), aggregatesOf(hub.home.rows()));
    const { code, stderr } = await node.home.run(["push", hub.name, "--json"]);
    expect({ code, stderr }).toMatchObject({ code: isForked.length > 0 ? 4 : 0 });
    for (const name of isForked) expect(stderr).toContain(`"aggregate_type":"${typeOf(name)}"`);
  }
  for (const { home } of nodes) await home.ok("aggregate", "verify", "--all");
}

async function openNode(name: string): Promise<Node> {
  const home = await openHome();
  const way = openWay(() => node.server?.socket_port ?? 0);
  const node: Node = {
    ...{ name, home, way, server: null },
    async restart() {
      await node.server?.[Symbol.asyncDispose]();
      node.server = await home.start();
    },
    async [Symbol.asyncDispose]() {
      await node.server?.[Symbol.asyncDispose]();
      way[Symbol.dispose]();
      home[Symbol.dispose]();
    },
  };
  return node;
}

async function introduceAll(nodes: readonly Node[]): Promise<void> {
  for (const { home, name } of nodes) {
    for (const other of nodes.filter((node) => node.name !== name)) {
      const endpoint = `127.0.0.1:${other.way.port}`;
      await home.ok("remote", "add", other.name, endpoint, "--public-key", other.home.key);
    }
  }
}

/** Of `own` each node has aggregates that nobody else appends to. */
async function append(
  { name, home, server }: Node,
  type: string,
  { count, of, dice }: { count: number; of: number; dice: Dice },
): Promise<void> {
  const events = Array.from({ length: count }, (_, n) => ({
    aggregate_type: type,
    aggregate_id: type === "own" ? `${name}-${n % of}` : String(n % of),
    event_type: "noted",
    payload: canonicalOf({ at: name, n, text: "é".repeat(dice.below(200)) }),
  }));
  if (server !== null) {
    const lines = events.map(({ aggregate_id, payload }) => [type, aggregate_id, payload] as const);
    await home.apply(...lines.map(([kind, id, text]) => [kind, id, JSON.parse(text)] as const));
    return;
  }
  await using store = await openStore(join(home.path, ".eventdbx"));
  await store.dbx.appendEvents(root, { events });
}
