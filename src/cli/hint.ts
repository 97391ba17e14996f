// What to try after an error: one line where dbx knows something helpful, nothing where it would
// guess.

import type { WireError } from "../api/errors.ts";
import type { Reach } from "./shell.ts";

export function hintFor(
  error: WireError,
  options: {
    readonly path: readonly string[];
    /** The caller's token came from the environment. */
    readonly environmentToken: boolean;
    /** Who was asked. */
    readonly kind: Reach["kind"];
  },
): string | null {
  const hint = hintOf(error, options);
  // Whoever is told to do what has just failed learns nothing.
  return hint === ["dbx", ...options.path].join(" ") ? null : hint;
}

function hintOf(
  error: WireError,
  { path, environmentToken, kind }: Parameters<typeof hintFor>[1],
): string | null {
  const { code, details } = error;
  const { aggregate_type: type, aggregate_id: id } = details;
  switch (code) {
    case "invalid_argument":
      return "key" in details || "file" in details
        ? null
        : `${["dbx", ...path, "--help"].join(" ")}`;
    case "version_conflict":
      return typeof type === "string" && typeof id === "string"
        ? `dbx aggregate get --aggregate ${shellWord(type)} --aggregate-id ${shellWord(id)}`
        : null;
    case "unauthenticated":
      // Somebody else's server.
      if (kind === "served" || path[0] === "upgrade") return null;
      if (kind === "url") {
        return "that server takes tokens of its own: dbx token generate, on its machine";
      }
      return environmentToken
        ? `${actAsMachine}${path.join(" ") === "token list" ? "" : ", then dbx token list"}`
        : "dbx token list; dbx token generate --group <name> --user <name>";
    case "permission_denied":
      // Who may not do this may not list tokens either; this machine may.
      if (kind !== "machine" || !("remaining_writes" in details || "grant" in details)) return null;
      return environmentToken ? actAsMachine : "dbx token list";
    case "not_found":
      if (path[0] === "upgrade") return "tag" in details ? "dbx upgrade list" : null;
      return path[0] === "aggregate"
        ? `dbx aggregate list${"event_id" in details ? " --stage" : ""}`
        : path[0] === "token" || path[0] === "schema"
          ? `dbx ${path[0]} list`
          : null;
    case "schema_violation":
      if (typeof type !== "string") return null;
      return "event" in details
        ? `dbx schema show ${shellWord(type)}`
        : `dbx schema create ${shellWord(type)} --events <event>`;
    case "unavailable":
      // A file that cannot be written is not the server's fault.
      if (["start", "upgrade"].includes(path[0] ?? "") || kind !== "machine") return null;
      // Another node is away, whatever this one does.
      if ((path[0] === "push" || path[0] === "pull") && "host" in details) return "dbx remote ls";
      return details["flag"] === "--output" ? null : "dbx status";
    case "data_corrupted":
      // The one file that people edit: it is they who damaged it, and they who repair it.
      if (String(details["path"]).endsWith("schemas.json")) return "edit that file, or restore it";
      return "nothing was changed; keep the data directory as it is and restore a copy elsewhere";
    default:
      return null;
  }
}

const actAsMachine = "EVENTDBX_TOKEN is set; unset it to act as this machine";

/** A word as a POSIX shell reads it back. */
export const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
