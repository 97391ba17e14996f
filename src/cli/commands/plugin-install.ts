// `dbx plugin install`: the bundle of a process plugin, from a path or a URL.

import { resolve } from "node:path";
import { Type } from "@sinclair/typebox";
import { limits } from "../../model/limits.ts";
import { installBundle, type InstallDeps } from "../../plugins/install.ts";
import { isUrl } from "../../plugins/install-fetch.ts";
import { takeLock } from "../../storage/sqlite/lock.ts";
import { realSystem } from "../../system.ts";
import { command } from "../command.ts";
import { loadConfiguration } from "../configuration.ts";
import { interruptible } from "../interrupt.ts";
import { afterDoing, type Output } from "../output.ts";
import { strict } from "./key-flags.ts";

const Flags = Type.Object(
  {
    plugin: Type.String({ hint: "plugin", description: "What the plugin is called." }),
    version: Type.String({ hint: "semver", description: "Its version." }),
    source: Type.String({
      hint: "path|url",
      minLength: 1,
      description: "The bundle: zip, tar, tar.gz, or the program alone.",
    }),
    bin: Type.Optional(
      Type.String({
        hint: "file",
        minLength: 1,
        description: "The program among several files; the name of a program that comes alone.",
      }),
    ),
    checksum: Type.Optional(
      Type.String({ hint: "sha256", description: "What the bundle's SHA-256 must be." }),
    ),
    force: Type.Optional(
      Type.Boolean({ description: "Replace the same version if it is installed." }),
    ),
    json: Type.Optional(Type.Boolean({ description: "Print the record as JSON." })),
  },
  strict,
);

export const pluginInstall = command({
  needs: "machine",
  summary: "Install the bundle of a process plugin.",
  about:
    "Unpacks to <data_dir>/plugins/<plugin>/<version>/<target>/, where target is this machine's, such as\n" +
    "x86_64-unknown-linux-gnu, and notes it in plugins/registry.json. The program is the only file, the\n" +
    "one that is called like the plugin, or the one that --bin names.\n" +
    "\n" +
    "Links, devices, names that lead elsewhere, and bundles that unpack to more than 1 GiB or a hundred\n" +
    "times their size are refused. An install that fails changes nothing. Whoever may write the bundle\n" +
    "may run a program as dbx does: give --checksum for what comes from elsewhere. Over http:// it is\n" +
    "needed; redirects are followed, but not from https to http.",
  flags: Flags,
  words: ["plugin", "version"],
  examples: [
    "dbx plugin install dbx_search 1.0.0 --source ./dbx_search.zip",
    "dbx plugin install dbx_search 1.0.0 --source https://example.com/search.tar.gz --checksum <sha256>",
  ],
  exits: {
    4: "this version is installed already, or the bundle is refused",
    6: "the bundle is too large",
    7: "the bundle cannot be fetched",
  },
  run: async ({ plugin: name, version, bin, checksum, force = false, json, ...flags }, shell) => {
    void json;
    const { output } = shell;
    const { config, warnings } = await loadConfiguration(shell, {});
    for (const warning of warnings) output.words(`warning: ${warning}`);
    const source = isUrl(flags.source) ? flags.source : resolve(shell.cwd, flags.source);
    const request = { name, version, source, bin, checksum, force };
    const { data_dir } = config;
    const { record, unchecked } = await interruptible((signal) =>
      installBundle(request, { data_dir, signal, progress: meter(output), ...machine }),
    ).finally(output.endProgress);
    if (unchecked) {
      output.words(
        `warning: nothing says what this bundle must be; its SHA-256 is ${record.checksum}`,
      );
    }
    const words = `installed plugin '${name}' v${version} for ${record.target} at ${record.binary_path}`;
    return afterDoing(
      { words, details: { binary_path: record.binary_path } },
      output.json ? output.jsonValue(record) : output.data(words),
    );
  },
});

const machine: Pick<InstallDeps, "now" | "lock" | "idle_ms_max"> = {
  idle_ms_max: limits.plugin_download_idle_ms_max,
  now: realSystem.now,
  lock: (directory) => takeLock({ directory, lock_wait_ms: limits.lock_wait_ms }),
};

const redraw_ms = 100;

function meter(output: Output): InstallDeps["progress"] {
  let drawn = -redraw_ms;
  return ({ bytes, total }) => {
    const now = performance.now();
    if (now - drawn < redraw_ms) return;
    drawn = now;
    const part = total === null || total === 0 ? "" : ` (${Math.floor((bytes / total) * 100)} %)`;
    output.progress(`${(bytes / 1_048_576).toFixed(1)} MiB${part}`.slice(0, output.columns() - 1));
  };
}
