// A thread of the storage, started by threads.ts: a writer that executes planned batches, a copier
// that moves the write-ahead log into the database, a checker that reads the whole of it, or a
// mover of bodies to and from the archive. Messages only; what they do is in checkpoint.ts,
// check.ts and mover.ts.

import type { Database } from "bun:sqlite";
import { assert, DbxError } from "../../model/error.ts";
import { checkTables } from "./check.ts";
import { createCopier, createLogWriter, type Written } from "./checkpoint.ts";
import { connectReader, connectWriter, type Durability } from "./connect.ts";
import { translate } from "./failure.ts";
import { createMover, type Fetched, type Mover, type Place, type Stowed } from "./mover.ts";
import { mainFormat } from "./migrations.ts";
import type { Step } from "./steps.ts";
import { unpack, type Packed } from "./transfer.ts";

export type Request =
  | {
      readonly kind: "open";
      readonly role: "writer" | "copier" | "checker" | "mover";
      readonly path: string;
      readonly durability: Durability;
      /** Null for those who neither seal nor open, too. */
      readonly dek: Uint8Array | null;
    }
  | { readonly kind: "write"; readonly packed: Packed }
  | { readonly kind: "alter"; readonly steps: readonly Step[] }
  /** To the mover: one block into the archive, or out of it. */
  | { readonly kind: "stow" | "fetch" | "release" | "seal"; readonly place: Place }
  /** To the writer, and to the mover: without free pages if so asked, without a log. */
  | { readonly kind: "compact"; readonly vacuum: boolean }
  /** To the copier: copy what is there. */
  | { readonly kind: "copy" }
  /** To the checker: look for faults. */
  | { readonly kind: "check"; readonly limit: number }
  /** To the writer: most is copied; finish it and start over. */
  | { readonly kind: "restart" }
  | { readonly kind: "close" };

export type Reply =
  | { readonly kind: "opened" | "closed" | "copied" | "released" }
  /** `refused`: why nothing was changed; the thread goes on. */
  | { readonly kind: "compacted"; readonly done: boolean; readonly refused: WireError | null }
  | { readonly kind: "stowed"; readonly stowed: Stowed }
  | { readonly kind: "fetched"; readonly fetched: Fetched }
  | { readonly kind: "checked"; readonly faults: string[] }
  /** Durable, whatever the fault of what came after it; null: none. */
  | {
      readonly kind: "written";
      readonly logBytes: number;
      readonly fault: WireError | null;
      /** Not null: the steps were rolled back, and the thread goes on. */
      readonly refused: WireError | null;
    }
  | { readonly kind: "restarted"; readonly done: boolean; readonly ms: number }
  /** The thread does nothing any more. */
  | { readonly kind: "failed"; readonly error: WireError };

/** Classes do not survive the way between threads. */
export interface WireError {
  /** Null: no expected error, but a mistake of ours. */
  readonly code: DbxError["code"] | null;
  readonly message: string;
  readonly details: Record<string, unknown>;
}

type Handler = (request: Request) => Reply;

function writing(database: Database, dek: Uint8Array | null): Handler {
  const writer = createLogWriter(database, dek);
  const told = ({ logBytes, fault, refused }: Written): Reply => ({
    ...{ kind: "written", logBytes },
    fault: fault === null ? null : toWire(fault),
    refused: refused === null ? null : toWire(refused),
  });
  return (request) => {
    if (request.kind === "write") return told(writer.write(unpack(request.packed)));
    if (request.kind === "alter") return told(writer.alter(request.steps));
    if (request.kind === "restart") return { kind: "restarted", ...writer.restart() };
    if (request.kind === "compact") return compacting(() => writer.compact(request.vacuum));
    writer.close();
    return { kind: "closed" };
  };
}

function compacting(compact: () => boolean): Reply {
  try {
    return { kind: "compacted", done: compact(), refused: null };
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    return { kind: "compacted", done: false, refused: toWire(error) };
  }
}

function copying(database: Database): Handler {
  const copier = createCopier(database);
  return (request) => {
    if (request.kind === "copy") {
      copier.copy();
      return { kind: "copied" };
    }
    copier.close();
    return { kind: "closed" };
  };
}

/** Never closed: it is ended, and its connection with it. */
function checking(database: Database, path: string): Handler {
  return (request) => {
    assert(request.kind === "check", "a checker only checks");
    return { kind: "checked", faults: checkTables(database, { path, limit: request.limit }) };
  };
}

function moving(mover: Mover): Handler {
  return (request) => {
    if (request.kind === "stow") return { kind: "stowed", stowed: mover.stow(request.place) };
    if (request.kind === "fetch") return { kind: "fetched", fetched: mover.fetch(request.place) };
    if (request.kind === "compact") return compacting(mover.compact);
    if (request.kind === "seal") {
      mover.seal(request.place);
      return { kind: "released" };
    }
    if (request.kind === "release") {
      mover.release(request.place);
      return { kind: "released" };
    }
    mover.close();
    return { kind: "closed" };
  };
}

function opened({ role, path, durability, dek }: Extract<Request, { kind: "open" }>): Handler {
  if (role === "mover") return moving(createMover({ path, dek }));
  if (role === "checker") {
    const reading = connectReader(path, mainFormat);
    assert(reading !== undefined, "a database that is written to has its tables");
    return checking(reading.database, path);
  }
  const options = { format: mainFormat, durability, autocheckpoint: 0 };
  const { database } = connectWriter(path, { ...options, secure_delete: dek !== null });
  return role === "writer" ? writing(database, dek) : copying(database);
}

function toWire(error: unknown): WireError {
  const known = translate("use the database", error);
  if (known instanceof DbxError) {
    const { code, message, details } = known;
    return { code, message, details };
  }
  return { code: null, message: String(error), details: {} };
}

declare const self: Worker;

let handle: Handler | undefined;
self.onmessage = ({ data }: MessageEvent<Request>) => {
  const answer = (reply: Reply): void => self.postMessage(reply);
  try {
    if (data.kind === "open") {
      handle = opened(data);
      answer({ kind: "opened" });
    } else if (handle !== undefined) {
      answer(handle(data));
    }
  } catch (error) {
    // A writer that failed once must not write what was planned on top of it.
    handle = undefined;
    answer({ kind: "failed", error: toWire(error) });
  }
};
