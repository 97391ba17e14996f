// An install as its command makes it, in a data directory of the test's own.

import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { DbxError } from "../../src/model/error.ts";
import { installBundle, type InstallDeps, type InstallRequest } from "../../src/plugins/install.ts";
import { thisTarget } from "../../src/plugins/install-registry.ts";
import { takeLock } from "../../src/storage/sqlite/lock.ts";
import { realSystem } from "../../src/system.ts";

export const { target } = thisTarget();

export interface Site {
  readonly data_dir: string;
  readonly plugins: string;
  /** Writes a bundle; its path comes back. */
  readonly put: (name: string, content: Uint8Array | string) => string;
  readonly install: (
    request: Partial<InstallRequest> & { readonly source: string },
    deps?: Partial<InstallDeps>,
  ) => ReturnType<typeof installBundle>;
  /** The error of an install that is refused. */
  readonly refusal: (
    request: Partial<InstallRequest> & { readonly source: string },
    deps?: Partial<InstallDeps>,
  ) => Promise<DbxError>;
  /** Every file that is there, with what is in it; the lock's own left out. */
  readonly found: () => Record<string, string>;
  readonly mode: (path: string) => number;
  readonly registry: () => unknown;
  readonly place: (name?: string, version?: string) => string;
}

export function siteIn(directory: string): Site {
  const data_dir = join(directory, "data");
  const plugins = join(data_dir, "plugins");
  const install: Site["install"] = (request, deps = {}) =>
    installBundle(
      {
        ...{ name: "search", version: "1.0.0", bin: undefined, checksum: undefined, force: false },
        ...request,
      },
      {
        data_dir,
        now: realSystem.now,
        lock: (path) => takeLock({ directory: path, lock_wait_ms: 5_000 }),
        progress: () => {},
        idle_ms_max: 30_000,
        signal: new AbortController().signal,
        ...deps,
      },
    );
  const registryPath = join(plugins, "registry.json");
  return {
    data_dir,
    plugins,
    install,
    put: (name, content) => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    },
    refusal: (request, deps) =>
      install(request, deps).then(
        () => {
          throw new Error("it was installed");
        },
        (error: DbxError) => error,
      ),
    found: () => {
      const names = existsSync(plugins) ? readdirSync(plugins, { recursive: true }) : [];
      const files = names
        .map(String)
        .filter((name) => !/^\.staging(\/lock\.db.*)?$/.test(name))
        .sort();
      return Object.fromEntries(
        files.map((name) => {
          const path = join(plugins, name);
          return [name, statSync(path).isFile() ? readFileSync(path, "utf8") : "/"];
        }),
      );
    },
    mode: (path) => statSync(path).mode & 0o7777,
    registry: () =>
      existsSync(registryPath) ? JSON.parse(readFileSync(registryPath, "utf8")) : null,
    place: (name = "search", version = "1.0.0") => join(plugins, name, version, target),
  };
}
