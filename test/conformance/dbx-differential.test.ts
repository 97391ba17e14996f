// The same random history, sent to identical servers by every surface: answers and errors are the
// same to the last byte, hashes, ids and times included, because all worlds share one clock and
// draw the same random bytes.

import { expect, test } from "bun:test";
import fc from "fast-check";
import type { Config } from "../../src/model/config.ts";
import { DbxError } from "../../src/model/error.ts";
import type { System } from "../../src/system.ts";
import { root } from "../support/store.ts";
import { openWorld, type Surface, type World } from "../support/surfaces.ts";
import { engineSurface } from "../support/surfaces-engine.ts";
import { graphqlSurface } from "../support/surfaces-graphql.ts";
import { grpcSurface } from "../support/surfaces-grpc.ts";
import { restSurface } from "../support/surfaces-rest.ts";
import { anyStep, instantOf, type Memory, type Step, type Who } from "./dbx-steps.ts";

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 31));

const surfaces: readonly Surface[] = [engineSurface, restSurface, graphqlSurface, grpcSurface];
const config: Partial<Config> = { list_page_size: 2, page_limit: 5, payload_limit: 4_096 };

const seen = new Set<string>();

test(`the comparison of surfaces finds no difference (SEED=${seed})`, async () => {
  await fc.assert(fc.asyncProperty(fc.array(anyStep, { minLength: 10, maxLength: 40 }), compare), {
    seed,
    numRuns: 60,
  });
  // A generator that stopped getting anywhere would agree about nothing.
  for (const outcome of [
    ...["appendEvent", "appendEvents", "listAggregates", "getAggregate", "listEvents", "readLog"],
    ...["verifyAggregate", "follow", "invalid_argument", "unauthenticated", "permission_denied"],
    ...["not_found", "already_exists", "version_conflict"],
  ]) {
    expect(seen).toContain(outcome);
  }
}, 180_000);

interface Player {
  readonly name: string;
  readonly world: World;
  readonly tokens: Readonly<Record<Who, string>>;
  readonly memory: Memory;
}

async function compare(steps: readonly Step[]): Promise<void> {
  let second = 0;
  await using stack = new AsyncDisposableStack();
  const players: Player[] = [];
  for (const surface of surfaces) {
    const system = reproducible(() => instantOf(second));
    players.push(await join(stack.use(await openWorld(surface, { system, config })), surface.name));
  }
  for (const step of steps) {
    second++;
    const outcomes = await Promise.all(players.map((player) => outcomeOf(player, step)));
    const [first] = outcomes;
    if (first === undefined) throw new Error("nobody was asked");
    if (step.kind === "ask") {
      seen.add("answer" in first ? (step.name.split(" ")[0] ?? "") : first.code);
    }
    outcomes.forEach((outcome, index) => {
      const by = players[index]?.name;
      expect({ step: step.name, by, outcome }).toEqual({ step: step.name, by, outcome: first });
    });
  }
  for (const { world } of players) {
    expect(world.lines.filter((line) => line.includes(" error "))).toEqual([]);
  }
}

async function join(world: World, name: string): Promise<Player> {
  const issue = async (limit: number | null) =>
    (await world.store.dbx.issueToken(root, { group: "app", user: "bob", limit })).token;
  const [member, poor] = [await issue(null), await issue(3)];
  const tokens = { admin: world.token, member, poor, outsider: "EVT-none" };
  return { name, world, tokens, memory: { cursor: null } };
}

/** One clock for all; ids and random bytes that differ from each other, but not between worlds. */
function reproducible(now: () => string): System {
  let count = 0;
  const hash = () => new Bun.CryptoHasher("sha256").update(`${count++}`).digest();
  return {
    now,
    uuid() {
      const hex = hash().toString("hex");
      return `00000000-0000-7000-8000-${hex.slice(0, 12)}`;
    },
    random: (bytes) => new Uint8Array(hash().subarray(0, bytes)),
  };
}

type Outcome =
  | { readonly answer: unknown }
  | { readonly code: string; readonly message: string; readonly details: unknown };

async function outcomeOf(player: Player, step: Step): Promise<Outcome> {
  const { world, tokens, memory } = player;
  try {
    const answer =
      step.kind === "ask"
        ? await step.ask(world.as(tokens[step.who]), memory)
        : await step.arrange(world);
    return { answer };
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    const { code, message, details } = error;
    return { code, message, details };
  }
}
