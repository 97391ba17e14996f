// One world per surface: a real store, served as `dbx start` serves it, and callers who ask it as a
// real client of that surface would. What is the same for all surfaces is here; how each speaks is
// in surfaces-*.ts.

import { Database } from "bun:sqlite";
import { join } from "node:path";
import type { Static } from "@sinclair/typebox";
import type { followLog } from "../../src/api/live.ts";
import type { Input, OperationName, Output } from "../../src/api/operations.ts";
import { createLog } from "../../src/log.ts";
import type { Canonical } from "../../src/model/canonical.ts";
import type { Config } from "../../src/model/config.ts";
import { DbxError } from "../../src/model/error.ts";
import type { EventRecord } from "../../src/model/event.ts";
import { startServer } from "../../src/server/server.ts";
import { realSystem } from "../../src/system.ts";
import type { System } from "../../src/system.ts";
import { openStore, root, testConfig, type TestStore } from "./store.ts";
import { tempDir } from "./temp.ts";

/** What every surface offers under one name or another. */
export const sharedOperations = [
  ...["appendEvent", "appendEvents", "listAggregates", "getAggregate"],
  ...["listEvents", "readLog", "verifyAggregate"],
] as const satisfies readonly OperationName[];
export type SharedOperation =
  | "appendEvent"
  | "appendEvents"
  | "listAggregates"
  | "getAggregate"
  | "listEvents"
  | "readLog"
  | "verifyAggregate";

export type Ask = {
  /** Payloads are sent as they are written here, canonical or not. Throws DbxError. */
  readonly [Name in SharedOperation]: (input: Input<Name>) => Promise<Output<Name>>;
};

/** Whoever holds a token, on one surface. */
export interface Caller extends Ask {
  /** Ends quietly when the signal is aborted. */
  readonly follow: (
    input: Static<typeof followLog.input>,
    signal: AbortSignal,
  ) => AsyncIterable<EventRecord>;
}

/** What not every surface can express. */
export type Feature = "no token" | "negative numbers" | "null payload" | "absent members";

export interface Connection {
  readonly store: TestStore;
  /** Of the one port that all surfaces share. */
  readonly port: number;
}

export interface Surface {
  readonly name: string;
  /** What it cannot express, and why. */
  readonly lacks: Readonly<Partial<Record<Feature, string>>>;
  /** What it tells those who come without a token: each protocol calls its place differently. */
  readonly withoutToken: string;
  readonly connect: (connection: Connection) => Connected;
}

export interface Connected {
  /** null: without a token. */
  readonly as: (token: string | null) => Caller;
  readonly close: () => Promise<void>;
}

export interface World extends Connected, AsyncDisposable {
  readonly surface: Surface;
  readonly store: TestStore;
  readonly port: number;
  /** For this machine's command line. */
  readonly control_port: number;
  readonly token: string;
  /** Holds a token of group `admin`. */
  readonly admin: Caller;
  /** Lines of the server's log, of every level. */
  readonly lines: readonly string[];
  readonly directory: string;
}

export async function openWorld(
  surface: Surface,
  over: { system?: Partial<System>; config?: Partial<Config> } = {},
): Promise<World> {
  const dir = tempDir();
  // What is compared does not depend on when the disk has it; fsyncs would only take time.
  const config: Partial<Config> = { storage: { durability: "normal" }, ...over.config };
  const store = await openStore(dir.path, { config, system: over.system ?? {} });
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const server = await startServer({
    opened: store,
    config: testConfig(dir.path, config),
    log: createLog({ least: "debug", now: () => "now", write }),
    system: realSystem,
    version: "test",
    commands: null,
    // Whoever may end it, in the matrix: it goes on.
    stop: () => {},
  });
  const { token } = await store.dbx.issueToken(root, { group: "admin", user: "jane" });
  const connected = surface.connect({ store, port: server.port });
  return {
    ...connected,
    surface,
    ...{
      store,
      port: server.port,
      control_port: server.control_port,
      token,
      lines,
      admin: connected.as(token),
    },
    directory: dir.path,
    async [Symbol.asyncDispose]() {
      await connected.close();
      await server.stop();
      await store.close();
      dir[Symbol.dispose]();
    },
  };
}

/**
 * What the protocol itself says of a refusal: the status of HTTP, the code of gRPC. Kept beside the
 * error, which has no place for it.
 */
export const statusBeside = new WeakMap<Error, number>();

export function withStatus<Refusal extends Error>(status: number, error: Refusal): Refusal {
  statusBeside.set(error, status);
  return error;
}

/** JSON as a client wrote it, which need not be canonical. */
export const json = (text: string): Canonical => text as Canonical;

/** An event for an aggregate of the type, with nothing remarkable about it. */
export const eventOf = (
  aggregate_type: string,
  over: Partial<Input<"appendEvent">> = {},
): Input<"appendEvent"> => ({
  ...{ aggregate_type, aggregate_id: "a-1", event_type: "noted", payload: json("{}") },
  ...over,
});

/** The error that the work ends with. Anything but a DbxError is thrown on. */
export async function refusal(work: Promise<unknown>): Promise<DbxError> {
  let answer: unknown;
  try {
    answer = await work;
  } catch (error) {
    if (error instanceof DbxError) return error;
    throw error;
  }
  throw new Error(`expected a refusal, not ${JSON.stringify(answer)}`);
}

export const codeOf = async (work: Promise<unknown>): Promise<string> => (await refusal(work)).code;

/** Changes an event behind dbx's back. */
export function tamper(directory: string): void {
  const raw = new Database(join(directory, "dbx.db"));
  const triggers = raw
    .query<{ name: string }, []>("SELECT name FROM sqlite_schema WHERE type = 'trigger'")
    .all();
  for (const { name } of triggers) raw.run(`DROP TRIGGER ${name}`);
  raw.run("UPDATE event SET event_type = 'changed'");
  raw.close();
}
