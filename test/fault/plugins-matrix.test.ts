// Every kind of plugin, and everything that may happen to its receiver or to dbx itself: a real
// dbx, real receivers, appends under way. Afterwards every committed event was delivered at least
// once and in the order of its aggregate, or is dead and in `dbx queue`.

import { expect, test } from "bun:test";
import { status } from "@grpc/grpc-js";
import { dbx } from "../support/cli.ts";
import type { Loose } from "../support/grpc.ts";
import {
  judge,
  kinds,
  settled,
  sound,
  startWorld,
  type Kind,
  type Statuses,
  type World,
} from "../support/plugin-matrix.ts";
import { until } from "../support/plugin-targets.ts";
import type { Damage } from "../support/wire.ts";

interface Cell {
  readonly begin: (world: World) => void | Promise<void>;
  /** Whether the fault has shown itself. */
  readonly bites: (world: World, statuses: Statuses) => boolean;
  readonly end: (world: World) => void | Promise<void>;
}

interface Fault {
  readonly name: string;
  /** Whether it is there before dbx starts; else while events are delivered. */
  readonly atStart?: true;
  readonly attempts_max?: number;
  /** A string says why a kind cannot have the fault. */
  readonly cells: Readonly<Record<Kind, Cell | string>>;
}

type Wired = "tcp" | "http" | "grpc" | "node";

const wired = (kind: Wired, damage: Damage | ((world: World) => Damage), least = 1): Cell => ({
  begin: (world) =>
    world.targets[kind].wire.damage(typeof damage === "function" ? damage(world) : damage),
  bites: ({ targets }) => targets[kind].wire.harm() >= least,
  end: ({ targets }) => targets[kind].wire.damage({ kind: "none" }),
});

/** Until a failure of that kind has been noticed. */
const failing = (kind: Kind, cell: Omit<Cell, "bites">): Cell => ({
  ...cell,
  bites: (_, statuses) => statuses[kind]["failed"] > 0,
});

/** Until so much failed that something is dead. */
const deadly = (kind: Kind, cell: Omit<Cell, "bites">): Cell => ({
  ...cell,
  bites: (_, statuses) => statuses[kind]["dead"] > 0,
});

const down = (kind: Wired): Cell =>
  failing(kind, {
    begin: ({ targets }) => targets[kind].wire.damage({ kind: "down" }),
    end: ({ targets }) => targets[kind].wire.damage({ kind: "none" }),
  });

const cut =
  (from: "sender" | "both") =>
  ({ random }: World): Damage => ({
    kind: "cut",
    bytes: () => Math.floor(random() * 20_000),
    from,
  });

let starts = 0;
const told = (word: string, bites: Cell["bites"]): Cell => ({
  begin: ({ targets }) => {
    starts = targets.process.starts();
    targets.process.tell(word);
  },
  bites,
  end: ({ targets }) => targets.process.tell(""),
});
const restarts = ({ targets }: World): boolean => targets.process.starts() > starts;

const oneOf = <Value>(random: () => number, values: readonly Value[]): Value => {
  const value = values[Math.floor(random() * values.length)];
  if (value === undefined) throw new Error("there is nothing to choose from");
  return value;
};

const ours = "the log is dbx's own: nobody else can be away, silent or wrong";

const faults: readonly Fault[] = [
  {
    name: "is down when dbx starts",
    atStart: true,
    cells: {
      ...{
        tcp: down("tcp"),
        http: down("http"),
        grpc: down("grpc"),
        node: down("node"),
        log: ours,
      },
      process: told("leave", restarts),
    },
  },
  {
    name: "dies while it takes an event",
    cells: {
      tcp: wired("tcp", cut("sender"), 3),
      http: wired("http", cut("both"), 3),
      grpc: wired("grpc", cut("both"), 3),
      node: failing("node", {
        begin: ({ targets }) => targets.node.kill(),
        end: ({ targets }) => targets.node.restart(),
      }),
      log: ours,
      process: told("die", restarts),
    },
  },
  {
    name: "accepts and never answers",
    cells: {
      tcp: "no receiver of TCP ever answers; one that does not even read is the half-open one",
      http: wired("http", { kind: "mute" }),
      grpc: wired("grpc", { kind: "mute" }),
      node: wired("node", { kind: "mute" }),
      log: ours,
      process: told("hang", (_, statuses) => statuses.process["failed"] > 0),
    },
  },
  {
    name: "answers errors, until events are dead, and recovers",
    attempts_max: 3,
    cells: {
      // Nothing else is an error over TCP.
      tcp: deadly("tcp", wired("tcp", { kind: "reset" })),
      http: deadly("http", {
        begin: ({ targets, random }) => {
          targets.http.answer = () => oneOf(random, [500, 503, 422, 429, 302, 401]);
        },
        end: ({ targets }) => void (targets.http.answer = () => 200),
      }),
      grpc: deadly("grpc", {
        begin: ({ targets, random }) => {
          const codes = [status.INTERNAL, status.UNAVAILABLE, status.INVALID_ARGUMENT];
          targets.grpc.answer = () => oneOf(random, codes);
        },
        end: ({ targets }) => void (targets.grpc.answer = () => status.OK),
      }),
      node: failing("node", {
        begin: ({ targets }) => targets.node.bound(1),
        end: ({ targets }) => targets.node.bound(null),
      }),
      log: ours,
      process: deadly("process", told("leave", restarts)),
    },
  },
  {
    name: "is slow",
    cells: {
      tcp: wired("tcp", { kind: "thin" }),
      http: wired("http", { kind: "thin" }),
      grpc: wired("grpc", { kind: "thin" }),
      node: wired("node", { kind: "thin" }),
      log: ours,
      process: told("slow", () => true),
    },
  },
  {
    name: "is at the other end of a half-open connection",
    cells: {
      // What a system has taken counts as delivered, so here it wakes up again. Had it vanished,
      // what lay in its buffers would be lost, and nobody can know.
      tcp: { ...wired("tcp", { kind: "held" }), bites: () => true },
      http: wired("http", { kind: "dead" }),
      grpc: wired("grpc", { kind: "dead" }),
      node: wired("node", { kind: "dead" }),
      log: ours,
      process: told("close", restarts),
    },
  },
  {
    name: "answers garbage",
    cells: {
      tcp: {
        begin: ({ targets }) => void (targets.tcp.chatter = true),
        bites: () => true,
        end: ({ targets }) => void (targets.tcp.chatter = false),
      },
      http: wired("http", { kind: "nonsense" }),
      grpc: wired("grpc", { kind: "nonsense" }),
      node: wired("node", { kind: "nonsense" }),
      log: ours,
      process: told("babble", () => true),
    },
  },
];

/** What is dead, as a person lists it: by plugin, the ids of events. */
async function deadOf({ home }: World): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const { stdout } = await dbx(["queue", "--json"], { home });
  const queue: Loose = JSON.parse(stdout);
  const dead = new Map<string, Set<string>>(kinds.map((kind) => [kind, new Set()]));
  for (const delivery of queue["deliveries"]) {
    if (delivery.dead) dead.get(delivery.plugin)?.add(delivery.event_id);
  }
  return dead;
}

/** When it is said what is missing, instead of waiting for it any longer. */
const patience_ms = 30_000;

/** Everything that was committed has arrived in order, or is listed as dead. */
async function judgeAll(world: World): Promise<void> {
  const committed = await world.committed();
  const dead = new Map(kinds.map((kind): [string, ReadonlySet<string>] => [kind, new Set()]));
  const verdicts = async () => {
    const found = kinds.map(async (kind) => {
      const seen = await world.targets[kind].seen();
      return [kind, judge(committed, seen, dead.get(kind) ?? new Set())] as const;
    });
    return Object.fromEntries(await Promise.all(found));
  };
  const patience = performance.now() + patience_ms;
  // What a receiver was handed it may read a little later, or die of.
  await until(async () => {
    if (performance.now() > patience) return true;
    await settled(world);
    const statuses = await world.statuses();
    const isListed = kinds.every((kind) => statuses[kind]["dead"] === dead.get(kind)?.size);
    if (!isListed) for (const [kind, ids] of await deadOf(world)) dead.set(kind, ids);
    return Object.values(await verdicts()).every(({ missing }) => missing.length === 0);
  });
  expect(await verdicts()).toEqual(Object.fromEntries(kinds.map((kind) => [kind, sound])));
  await retryAll(world, committed);
}

/** What is dead arrives when it is retried by hand, now that the fault is gone. */
async function retryAll(world: World, committed: readonly Loose[]): Promise<void> {
  await until(async () => {
    const { failed, remaining } = await world.ask("/admin/queue/retry", {});
    return failed + remaining === 0;
  });
  for (const kind of kinds) {
    const ids = new Set(committed.map(({ metadata }) => metadata.event_id));
    await until(async () => {
      for (const { event_id } of await world.targets[kind].seen()) ids.delete(event_id);
      return ids.size === 0;
    });
  }
}

const seedOf = (name: string): number => {
  const given = Number(process.env["DBX_SEED"] ?? NaN);
  const seed = Number.isNaN(given) ? Math.floor(Math.random() * 2 ** 31) : given;
  console.log(`${name}: DBX_SEED=${seed}`);
  return seed;
};

const minute = 60_000;

test.each(faults.map((fault) => [fault.name, fault] as const))(
  "what is committed arrives where a receiver %s",
  async (name, { cells, atStart, attempts_max = 1_000 }) => {
    await using world = await startWorld(seedOf(name), { attempts_max });
    const hit = kinds.flatMap((kind) => {
      const cell = cells[kind];
      return typeof cell === "string" ? [] : [cell];
    });
    const begin = async () => {
      for (const cell of hit) await cell.begin(world);
    };
    if (atStart === true) await begin();
    await world.start();
    if (atStart !== true) {
      await world.append(30);
      await settled(world);
      await begin();
    }
    const appending = world.append(120);
    await until(async () => {
      const statuses = await world.statuses();
      return hit.every((cell) => cell.bites(world, statuses));
    });
    await appending;
    for (const cell of hit) await cell.end(world);
    await world.append(20);
    await judgeAll(world);
  },
  minute,
);

test(
  "what is committed arrives where dbx is killed in the middle of deliveries",
  async () => {
    await using world = await startWorld(seedOf("is killed"), { attempts_max: 1_000 });
    for (let life = 0; life < 3; life++) {
      await world.start();
      const before = (await world.targets.http.seen()).length;
      const most = 1 + Math.floor(world.random() * 30);
      const appending = world.append(200).catch(() => undefined);
      await until(async () => (await world.targets.http.seen()).length > before + most);
      await world.kill();
      await appending;
    }
    await world.start();
    await world.append(20);
    await judgeAll(world);
  },
  minute,
);
