// Bundles of process plugins: what they may be called, and the record of one that is installed.

import { Type, type Static } from "@sinclair/typebox";
import { invalidArgument } from "./error.ts";
import { limits } from "./limits.ts";

/** Where a bundle came from; a remote one without credentials and query, which may be secrets. */
const Source = Type.Union([
  Type.Object({ type: Type.Literal("local"), path: Type.String() }),
  Type.Object({ type: Type.Literal("remote"), registry: Type.String() }),
  Type.Null(),
]);

/** In the shape of EventDBX 1, whose records may lack the optional members. */
export const InstalledBundle = Type.Object({
  name: Type.String(),
  version: Type.String(),
  target: Type.String(),
  install_dir: Type.String(),
  binary_path: Type.String(),
  source: Type.Optional(Source),
  checksum: Type.Optional(Type.Union([Type.String(), Type.Null()])),
  installed_at: Type.String(),
});
export type InstalledBundle = Static<typeof InstalledBundle>;

export const InstalledBundles = Type.Array(InstalledBundle, {
  maxItems: limits.plugin_bundles_max,
});

export interface BundleName {
  readonly name: string;
  readonly version: string;
}

/** Both become directories, so neither may lead out of the one that holds all of them. */
export function requireBundleName({ name, version }: BundleName): void {
  if (name.trim() === "") throw invalidArgument("plugin identifier cannot be empty");
  if (version.trim() === "") throw invalidArgument("plugin version cannot be empty");
  if (!/^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$/.test(name) || reserved.test(name)) {
    throw invalidArgument(
      `'${name}' is no name of a plugin: letters, digits, ., _ and -, a letter or digit first`,
      { plugin: name },
    );
  }
  if (!/^\d+(?:\.\d+){0,3}(?:[-+][0-9A-Za-z.+-]+)?$/.test(version) || version.length > 64) {
    throw invalidArgument(
      `'${version}' is no version of a plugin: write it like 1.2.3 or 1.2.3-rc.1`,
      { version },
    );
  }
}

/** The file beside the bundles, and what Windows keeps for devices. */
const reserved = /^(?:registry\.json|(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?|.*\.)$/i;

export interface Target {
  /** The name of bundles for this machine: Rust's. */
  readonly target: string;
  /** What EventDBX 1 called it. */
  readonly older: string;
}

/** Null for a machine that nobody builds plugins for. */
export function targetOf({
  platform,
  arch,
}: {
  readonly platform: string;
  readonly arch: string;
}): Target | null {
  const processor = { x64: "x86_64", arm64: "aarch64" }[arch];
  const system = {
    linux: { long: "unknown-linux-gnu", short: "linux" },
    darwin: { long: "apple-darwin", short: "macos" },
    win32: { long: "pc-windows-msvc", short: "windows" },
    freebsd: { long: "unknown-freebsd", short: "freebsd" },
  }[platform];
  if (processor === undefined || system === undefined) return null;
  return { target: `${processor}-${system.long}`, older: `${system.short}-${processor}` };
}
