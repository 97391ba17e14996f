// Nodes as their users have them: a home each, commands in processes, and what their databases
// hold, read without dbx.

import { Database } from "bun:sqlite";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { canonicalOf } from "../../src/model/canonical.ts";
import {
  dbx,
  dbxCommand,
  startForeground,
  type Ran,
  type RunningServer,
  type RunOptions,
} from "./cli.ts";
import { openStore, root } from "./store.ts";
import { tempDir } from "./temp.ts";

const many = join(import.meta.dir, "real-data-cli.ts");

/** What is the same of an event wherever it is. */
export interface Row {
  readonly aggregate: string;
  readonly version: number;
  readonly event: string;
  readonly created_at: string;
  readonly issued: string;
  /** Content, hash and root, in hex. */
  readonly digests: string;
  /** Null where it is sealed, archived or erased. */
  readonly body: string | null;
}

/** Type, id, payload, and what else the command is given. */
export type Applied = readonly [string, string, unknown, ...string[]];

export interface Home extends Disposable {
  readonly path: string;
  /** Its public key. */
  readonly key: string;
  readonly run: (args: readonly string[], over?: Partial<RunOptions>) => Promise<Ran>;
  /** Out: what a command printed that MUST succeed. */
  readonly ok: (...args: string[]) => Promise<string>;
  /** Out: exit code and error of a command that MUST fail, and print nothing. */
  readonly refused: (...args: string[]) => Promise<string>;
  /** Each is a command line of `dbx aggregate apply`; all of them in one process. */
  readonly apply: (...events: readonly Applied[]) => Promise<void>;
  /** That many events of a type at once, of three aggregates, while its server is down. */
  readonly fill: (type: string, count: number, payload?: object) => Promise<void>;
  readonly start: (args?: readonly string[]) => Promise<RunningServer>;
  /** By aggregate and version; of these types, or of all. */
  readonly rows: (...types: string[]) => readonly Row[];
}

export async function openHome({ dek }: { readonly dek?: string } = {}): Promise<Home> {
  const directory = tempDir();
  const home = directory.path;
  const run: Home["run"] = (args, over = {}) => dbx(args, { home, ...over });
  const ok: Home["ok"] = async (...args) => {
    const { stdout, stderr, code } = await run(args);
    if (code !== 0) throw new Error(`dbx ${args.join(" ")}: exit ${code}\n${stderr}`);
    return stdout;
  };
  if (dek !== undefined) await ok("config", "--master-key", "correct horse battery", "--dek", dek);
  const key = (await ok("remote", "key")).trim();
  return {
    ...{ path: home, key, run, ok },
    refused: async (...args) => {
      const { stdout, stderr, code } = await run(args);
      if (code === 0 || stdout !== "") throw new Error(`dbx ${args.join(" ")} printed ${stdout}`);
      return `${code} ${/error: (.*)/.exec(stderr)?.[1]}`;
    },
    apply: async (...events) => {
      const lines = events.map(([type, id, payload, ...more]) => {
        const words = [type, id, "noted", "--payload", JSON.stringify(payload), ...more];
        return JSON.stringify(["aggregate", "apply", ...words]);
      });
      const { options } = dbxCommand([], { home });
      const stdin = new Blob([lines.join("\n")]);
      const child = Bun.spawn([process.execPath, "--no-env-file", many], {
        ...{ ...options, stdin, stdout: "ignore", stderr: "pipe" },
      });
      const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
      if (code !== 0) throw new Error(`exit ${code} of ${lines.join(" ")}:\n${stderr}`);
    },
    fill: async (aggregate_type, count, payload = {}) => {
      const config = dek === undefined ? {} : { data_encryption_key: dek };
      await using store = await openStore(join(home, ".eventdbx"), { config });
      const events = Array.from({ length: count }, (_, n) => ({
        ...{ aggregate_type, aggregate_id: String(n % 3), event_type: "noted" },
        payload: canonicalOf({ n, ...payload }),
      }));
      await store.dbx.appendEvents(root, { events });
    },
    start: (args = []) => startForeground({ home, args }),
    rows: (...types) => rowsOf(join(home, ".eventdbx/dbx.db"), types),
    [Symbol.dispose]: directory[Symbol.dispose],
  };
}

/** As two operators do it who have told each other their keys. */
export async function introduce(
  caller: Home,
  called: Home,
  { port }: { readonly port: number },
): Promise<void> {
  await called.ok("remote", "add", "caller", "127.0.0.1", "--public-key", caller.key);
  const there = `127.0.0.1:${port}`;
  await caller.ok("remote", "add", "called", there, "--public-key", called.key, "--replace");
}

const everyEvent = `
  SELECT aggregate_type || '/' || aggregate_id AS aggregate, event.version,
    hex(event_id) || ' ' || event_type AS event, created_at,
    issued_group || ' ' || issued_user AS issued,
    hex(content_digest) || ' ' || hex(hash) || ' ' || hex(merkle_root) AS digests,
    hex(salt) || ' ' || coalesce(note, '-') || ' ' || payload AS body
  FROM event JOIN stream USING (stream_id) LEFT JOIN body USING (position)
  ORDER BY aggregate, event.version`;

function rowsOf(path: string, types: readonly string[]): readonly Row[] {
  if (!existsSync(path)) return [];
  using database = new Database(path, { readonly: true });
  const rows = database.query<Row, []>(everyEvent).all();
  if (types.length === 0) return rows;
  // No type of a test has a slash.
  return rows.filter(({ aggregate }) => types.includes(aggregate.split("/")[0] ?? ""));
}
