// Composition root: a configuration becomes a running store. The only place that wires.

import type { Actor } from "./model/actor.ts";
import type { Config } from "./model/config.ts";
import type { Dbx } from "./api/dbx.ts";
import type { Log } from "./log.ts";
import type { System } from "./system.ts";

/** What a running server may change without a restart. */
export type Settings = Pick<
  Config,
  "list_page_size" | "page_limit" | "payload_limit" | "snapshot_threshold"
>;

export interface OpenOptions {
  readonly config: Config;
  readonly log: Log;
  readonly system: System;
  /** `read` needs no lock and refuses every command. */
  readonly access: "write" | "read";
  /** How long to wait for another process to release the lock. */
  readonly lock_wait_ms: number;
  /** Whether SQLite may have a thread of its own: worth its start-up time in a server only. */
  readonly threads: boolean;
  /** Reads the configuration again, for `reloadConfig`; null where nobody may ask. */
  readonly reload: (() => Promise<Config>) | null;
}

export interface Opened {
  readonly dbx: Dbx;
  /** The actor behind a token's value. Throws `unauthenticated`. Keep-alive tokens live on by it. */
  readonly authenticate: (token: string) => Actor;
  /** A short-lived token with every grant for this machine's command line: actor `cli` / `cli:<user>`. */
  readonly openSession: (user: string) => { readonly token: string; readonly expires_at: string };
  /** 32 random bytes from `<data_dir>/machine.key` (mode 0600, made at the first opening for writing). */
  readonly machineKey: Uint8Array;
  readonly settings: () => Settings;
  /** Rejects when the disk failed: from then on nothing is written, and the process should end. */
  readonly failure: Promise<never>;
  /** Finishes what was accepted, then closes the storage. */
  readonly close: () => Promise<void>;
}

export type Open = (options: OpenOptions) => Promise<Opened>;
