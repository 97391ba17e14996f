// One dbx process that delivers to a receiver of every kind at a time, and what a test does to it:
// appends under way, receivers that fail, kills. What must hold in the end is judged here, too.

import { http, startForeground, type RunningServer } from "./cli.ts";
import type { Loose } from "./grpc.ts";
import {
  grpcTarget,
  httpTarget,
  logTarget,
  makeStore,
  nodeTarget,
  processTarget,
  readEvents,
  tcpTarget,
  until,
  type Seen,
} from "./plugin-targets.ts";
import { root } from "./store.ts";
import { tempDir } from "./temp.ts";

export const kinds = ["tcp", "http", "grpc", "node", "log", "process"] as const;
export type Kind = (typeof kinds)[number];

const hasty = "test/support/hasty-dbx.ts";
const aggregates = 12;

/** Mulberry32: the same numbers for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const makeTargets = async (
  { home, other }: { home: string; other: string },
  random: () => number,
) => {
  const [tcp, web, grpc, node, program] = await Promise.all([
    tcpTarget(random),
    httpTarget(random),
    grpcTarget(random),
    nodeTarget(other, random),
    processTarget(home),
  ]);
  return { tcp, http: web, grpc, node, log: logTarget(), process: program };
};

export type Targets = Awaited<ReturnType<typeof makeTargets>>;

/** How a kind stands, as `dbx plugin list` shows it. */
export type Statuses = Readonly<Record<Kind, Loose>>;

export interface World extends AsyncDisposable {
  readonly home: string;
  readonly random: () => number;
  readonly targets: Targets;
  readonly start: () => Promise<void>;
  /** SIGKILL. */
  readonly kill: () => Promise<void>;
  /** Several at a time; those that a kill interrupts may be committed or not. */
  readonly append: (count: number) => Promise<void>;
  readonly statuses: () => Promise<Statuses>;
  readonly ask: (path: string, body: object) => Promise<Loose>;
  /** The log, in order. */
  readonly committed: () => Promise<Loose[]>;
}

export async function startWorld(
  seed: number,
  { attempts_max }: { attempts_max: number },
): Promise<World> {
  const random = seeded(seed);
  const [homes, others] = [tempDir(), tempDir()];
  const home = homes.path;
  const targets = await makeTargets({ home, other: others.path }, random);
  const token = await makeStore(home, async ({ dbx }) => {
    for (const name of kinds) await dbx.putPlugin(root, { name, config: targets[name].config });
  });
  await Bun.write(`${home}/.eventdbx/config.toml`, `plugin_max_attempts = ${attempts_max}\n`);
  let server: RunningServer | null = null;
  let before = "";
  targets.log.text = () => before + (server?.log() ?? "");
  const port = (): number => {
    if (server === null) throw new Error("the server is not up");
    return server.port;
  };

  async function kill(): Promise<void> {
    await server?.[Symbol.asyncDispose]();
    before += server?.log() ?? "";
    server = null;
  }

  async function append(count: number): Promise<void> {
    let left = count;
    const write = async (): Promise<void> => {
      while (left-- > 0) {
        const body = JSON.stringify({
          ...{ aggregate_type: "order", event_type: "order-changed" },
          aggregate_id: `o-${Math.floor(random() * aggregates)}`,
          payload: { n: left, filling: "x".repeat(Math.floor(random() ** 3 * 12_000)) },
        });
        const answer = await http(port(), "/v1/events", { token, body });
        if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
      }
    };
    await Promise.all(Array.from({ length: 4 }, write));
  }

  const get = async (path: string): Promise<Loose> => {
    const { status, text } = await http(port(), path, { token });
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
    return JSON.parse(text);
  };

  return {
    ...{ home, random, targets, append, kill },
    start: async () => {
      server = await startForeground({ home, entry: hasty });
    },
    statuses: async () => {
      const plugins: Loose[] = await get("/admin/plugins");
      return Object.fromEntries(plugins.map((plugin) => [plugin["name"], plugin])) as Statuses;
    },
    ask: async (path, body) => {
      const { status, text } = await http(port(), path, { token, body: JSON.stringify(body) });
      if (status !== 200) throw new Error(`${path}: ${status} ${text}`);
      return JSON.parse(text);
    },
    committed: () => readEvents(port(), token),
    [Symbol.asyncDispose]: async () => {
      await kill();
      for (const name of kinds) await targets[name][Symbol.asyncDispose]();
      homes[Symbol.dispose]();
      others[Symbol.dispose]();
    },
  };
}

export interface Verdict {
  /** Committed, and neither seen nor dead. */
  readonly missing: readonly string[];
  /** Seen before an earlier one of their aggregate that is not dead. */
  readonly overtaking: readonly string[];
  /** Seen and never committed. */
  readonly strange: readonly string[];
}

export const sound: Verdict = { missing: [], overtaking: [], strange: [] };

/** `dead`: ids of events that are listed as dead. */
export function judge(
  committed: readonly Loose[],
  seen: readonly Seen[],
  dead: ReadonlySet<string>,
): Verdict {
  const ids = new Set(committed.map(({ metadata }) => metadata.event_id));
  const seenIds = new Set(seen.map(({ event_id }) => event_id));
  const deadOf = new Set(
    committed
      .filter(({ metadata }) => dead.has(metadata.event_id))
      .map(({ aggregate_id, version }) => `${aggregate_id} ${version}`),
  );
  const known = new Set<string>();
  const overtaking: string[] = [];
  for (const { aggregate_id, version } of seen) {
    known.add(`${aggregate_id} ${version}`);
    for (let earlier = version - 1; earlier > 0; earlier--) {
      const name = `${aggregate_id} ${earlier}`;
      if (known.has(name)) break;
      if (!deadOf.has(name)) overtaking.push(`${aggregate_id} ${version} before ${earlier}`);
    }
  }
  return {
    missing: [...ids].filter((id) => !seenIds.has(id) && !dead.has(id)),
    overtaking,
    strange: [...seenIds].filter((id) => !ids.has(id)),
  };
}

/** Resolves when nothing is on its way any more, and everything that was sent has been read. */
export async function settled(world: World): Promise<void> {
  await until(async () =>
    Object.values(await world.statuses()).every(({ lag, pending }) => lag === 0 && pending === 0),
  );
}
