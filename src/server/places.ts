// Where the servers behind the shared port listen: sockets in a directory that nobody else may
// enter, or ports on loopback, where there are none (Windows) or addresses are counted. A directory
// that a killed server left behind is in nobody's way: each start makes its own.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { unavailable } from "../model/error.ts";
import type { Address } from "./listener.ts";

export interface Places {
  readonly http1: Address;
  readonly http2: Address;
  /** Removes what was made. May be called again. */
  readonly remove: () => void;
}

/** The longest path that a socket may have on any system is 103 bytes (macOS). */
const socket_path_bytes_max = 103;

/** Throws `unavailable`, naming the directories, where none of them can be used. */
export function makePlaces(platform: NodeJS.Platform): Places {
  if (platform === "win32") return portPlaces();
  const directory = makeDirectory([tmpdir(), "/tmp"]);
  return {
    http1: { unix: join(directory, "http1") },
    http2: { unix: join(directory, "http2") },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Ports on loopback: others of this machine reach them, but need a token like everybody. */
export function portPlaces(): Places {
  const free: Address = { hostname: "127.0.0.1", port: 0 };
  return { http1: free, http2: free, remove: () => {} };
}

/** A new directory in the first one that it can be made in. Throws `unavailable`. */
export function makeDirectory(parents: readonly string[]): string {
  let cause: unknown;
  for (const parent of parents) {
    const prefix = join(parent, "dbx-port-");
    const fits = Buffer.byteLength(`${prefix}XXXXXX/http1`) <= socket_path_bytes_max;
    // A relative one would be another after a change of the working directory.
    if (!fits || !isAbsolute(parent)) continue;
    try {
      // mkdtemp makes it with mode 0700.
      return mkdtempSync(prefix);
    } catch (thrown) {
      cause = thrown;
    }
  }
  const tried = [...new Set(parents)];
  throw unavailable(
    `cannot make a directory for sockets in ${tried.join(" or ")}: set TMPDIR to one that exists`,
    { directories: tried },
    { cause },
  );
}
