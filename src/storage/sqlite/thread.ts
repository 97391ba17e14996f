// A thread of the storage, started by threads.ts: a writer that executes planned batches, or a
// copier that moves the write-ahead log into the database. Messages only; what they do is
// checkpoint.ts.

import type { Database } from "bun:sqlite";
import { DbxError } from "../../model/error.ts";
import { checkDatabase } from "./check.ts";
import { createCopier, createLogWriter } from "./checkpoint.ts";
import { connectWriter, type Durability } from "./connect.ts";
import { translate } from "./failure.ts";
import { unpack, type Packed } from "./transfer.ts";

export type Request =
  | {
      readonly kind: "open";
      readonly role: "writer" | "copier";
      readonly path: string;
      readonly durability: Durability;
    }
  | { readonly kind: "write"; readonly packed: Packed }
  /** To the copier: copy what is there. */
  | { readonly kind: "copy" }
  /** To the copier: look for faults. */
  | { readonly kind: "check"; readonly limit: number }
  /** To the writer: most is copied; finish it and start over. */
  | { readonly kind: "restart" }
  | { readonly kind: "close" };

export type Reply =
  | { readonly kind: "opened" | "closed" | "copied" }
  | { readonly kind: "checked"; readonly faults: string[] }
  /** Durable, whatever the fault of what came after it; null: none. */
  | { readonly kind: "written"; readonly logBytes: number; readonly fault: WireError | null }
  | { readonly kind: "restarted"; readonly done: boolean; readonly ms: number }
  /** `fatal`: the thread does nothing any more. */
  | { readonly kind: "failed"; readonly error: WireError; readonly fatal: boolean };

/** Classes do not survive the way between threads. */
export interface WireError {
  /** Null: no expected error, but a mistake of ours. */
  readonly code: DbxError["code"] | null;
  readonly message: string;
  readonly details: Record<string, unknown>;
}

type Handler = (request: Request) => Reply;

function writing(database: Database): Handler {
  const writer = createLogWriter(database);
  return (request) => {
    if (request.kind === "write") {
      const { logBytes, fault } = writer.write(unpack(request.packed));
      return { kind: "written", logBytes, fault: fault === null ? null : toWire(fault) };
    }
    if (request.kind === "restart") return { kind: "restarted", ...writer.restart() };
    writer.close();
    return { kind: "closed" };
  };
}

function copying(database: Database): Handler {
  const copier = createCopier(database);
  return (request) => {
    if (request.kind === "copy") {
      copier.copy();
      return { kind: "copied" };
    }
    if (request.kind === "check") {
      return { kind: "checked", faults: checkDatabase(database, request.limit) };
    }
    copier.close();
    return { kind: "closed" };
  };
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
      const { database } = connectWriter(data.path, {
        durability: data.durability,
        autocheckpoint: 0,
      });
      handle = data.role === "writer" ? writing(database) : copying(database);
      answer({ kind: "opened" });
    } else if (handle !== undefined) {
      answer(handle(data));
    }
  } catch (error) {
    // A writer that failed once must not write what was planned on top of it. A check that meets a
    // damaged page has only done its work.
    const fatal = data.kind !== "check";
    if (fatal) handle = undefined;
    answer({ kind: "failed", error: toWire(error), fatal });
  }
};
