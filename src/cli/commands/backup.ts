// `dbx backup`: everything that a data directory and its configuration hold, in one file, while a
// server runs or not.

import { existsSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, relative, resolve } from "node:path";
import { Type } from "@sinclair/typebox";
import { createBackup, exists, type Made, type Secrets } from "../../backup/create.ts";
import { kindOf } from "../../backup/archive.ts";
import { failedPrecondition, invalidArgument } from "../../model/error.ts";
import { readDocument } from "../../storage/documents.ts";
import { realSystem } from "../../system.ts";
import { command } from "../command.ts";
import { loadConfiguration, type Configuration } from "../configuration.ts";
import { afterDoing } from "../output.ts";
import { passphraseFlags, readNewPassphrase } from "../passphrase.ts";
import { createMeter, type Meter } from "../progress.ts";
import type { Shell } from "../shell.ts";
import { configKeys } from "../keys.ts";
import { changeToml, lookUp, readToml } from "../toml.ts";
import { strict } from "./key-flags.ts";

export const backup = command({
  needs: "machine",
  summary: "Back up the database and its configuration into one file, while it runs or not.",
  about:
    "What is in it is of one moment, and every event that was acknowledged before the command began is.\n" +
    "The file is read back before it gets its name. What opens something, such as keys, is named on\n" +
    "stderr. Bring it back with `dbx restore`.",
  flags: Type.Object(
    {
      output: Type.String({ hint: "path", minLength: 1, description: "The file to make." }),
      force: Type.Optional(Type.Boolean({ description: "Replace a file of that name." })),
      since: Type.Optional(
        Type.String({
          hint: "backup",
          minLength: 1,
          description: "Take only what has changed since this backup, which a restore needs, too.",
        }),
      ),
      exclude_keys: Type.Optional(
        Type.Boolean({
          description: "Leave out the machine's and the node's key, the DEK and the key of TLS.",
        }),
      ),
      ...passphraseFlags(
        "Encrypt the backup; without a value the passphrase is taken from below, or asked for.",
      ),
      json: Type.Optional(Type.Boolean({ description: "Print JSON." })),
    },
    strict,
  ),
  words: [],
  examples: [
    "dbx backup --output /mnt/backups/monday.dbx",
    "dbx backup --output /mnt/backups/tuesday.dbx --since /mnt/backups/monday.dbx",
    "dbx backup --output /mnt/backups/away.dbx --passphrase-file /run/secrets/backup",
  ],
  exits: {
    2: "the output lies inside the data directory, or the input does not fit",
    3: "no database there",
    4: "the output exists already, or the backup of --since cannot be used",
    7: "the disk refuses, or has no room",
  },
  run: async (flags, shell) => {
    const configuration = await loadConfiguration(shell, {});
    const { config, warnings } = configuration;
    const { output } = shell;
    for (const warning of warnings) output.words(`warning: ${warning}`);
    const { data_dir } = config;
    const target = resolve(shell.cwd, flags.output);
    refuseOutput(target, { data_dir, force: flags.force === true });
    const since = flags.since === undefined ? null : resolve(shell.cwd, flags.since);
    if (since !== null) await kindOf(since);
    if (since === target) {
      throw invalidArgument("--since names the output itself", { flag: "--since" });
    }
    const passphrase = await readNewPassphrase(flags, shell);
    const exclude = flags.exclude_keys === true;
    const found = secretFilesOf(configuration);
    const places = progressOf(shell);
    using _ = places;
    const made = await createBackup({
      ...{ data_dir, output: target, replace: flags.force === true, since, passphrase },
      config: () => configOf(configuration, { exclude }),
      // The configuration has a place of its own, with or without its key.
      without: [configuration.path, ...(exclude ? found.map(({ path }) => path) : [])],
      secretsOf: (files, { sealing }) => secretsOf(files, { sealing, configuration, exclude }),
      system: realSystem,
      progress: places,
    });
    output.endProgress();
    tell(made, { shell, passphrase, exclude });
    const shown = shownOf(made, { target, passphrase });
    const words = `Backup created at ${target} (captured data directory ${data_dir})`;
    await afterDoing(
      { words, details: { output: target } },
      output.json ? output.jsonValue(shown) : output.data(words),
    );
  },
});

/** By what they really are: a link must not lead into the data directory, nor out of sight. */
function refuseOutput(
  output: string,
  { data_dir, force }: { readonly data_dir: string; readonly force: boolean },
): void {
  const inner = relative(realOf(data_dir), realOf(output));
  if (inner === "" || !(inner.startsWith("..") || isAbsolute(inner))) {
    throw invalidArgument(
      `backup output path ${output} resides inside the data directory ${data_dir}; choose a different location`,
      { flag: "--output" },
    );
  }
  const found = statSync(output, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isFile()) throw failedPrecondition(`${output} is there and is no file`, { output });
  if (!force) throw exists(output);
}

/** Of what does not exist yet, the part that does. */
function realOf(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const parent = dirname(path);
  return parent === path ? path : join(realOf(parent), basename(path));
}

/** Four times, because it is copied, hashed, packed and read back. */
function progressOf({ output }: Shell) {
  let meter: Meter | null = null;
  return {
    begin: (bytes: number) => {
      meter = createMeter(output, { total: Math.ceil(bytes / 2 ** 20), unit: "MiB" });
    },
    advance: (bytes: number) => meter?.advance(bytes / 2 ** 20 / 4),
    [Symbol.dispose]: () => meter?.[Symbol.dispose](),
  };
}

interface SecretFile {
  readonly path: string;
  readonly name: string;
}

/** Files in the data directory that are keys themselves. */
function secretFilesOf({ config }: Configuration): SecretFile[] {
  const { data_dir, replication } = config;
  const names = ["machine.key", "replication.key", "server.key", replication.identity_key];
  const own = names.map((name) => resolve(data_dir, name));
  const named = [config.tls.key, config.dek_file].filter((path) => path !== undefined);
  const inside = (path: string) => !relative(data_dir, path).startsWith("..");
  const paths = [...own, ...named].filter(inside);
  return [...new Set(paths)].map((path) => ({ path, name: relative(data_dir, path) }));
}

const keyName = "data_encryption_key";

async function configOf(
  { path }: Configuration,
  { exclude }: { readonly exclude: boolean },
): Promise<{ readonly path: string; readonly text: string | null }> {
  const text = await readDocument(path);
  return { path, text: text === null || !exclude ? text : withoutKey(text, path) };
}

/** A blank secret counts as absent, and so nothing else in the file changes. */
function withoutKey(text: string, path: string): string {
  const key = configKeys.find(({ name }) => name === keyName);
  const spellings = [...(key?.aliases ?? []), keyName];
  const table = readToml(text, path);
  const set = spellings.filter((name) => valueIn(table, name) !== "");
  const changed = changeToml(
    text,
    set.map((name) => ({ key: name, aliases: [], value: "" })),
    path,
  );
  const left = set.map((name) => valueIn(table, name)).find((value) => changed.includes(value));
  if (left === undefined) return changed;
  throw failedPrecondition(
    `${path} has the data encryption key a second time, in a comment for instance; remove it there`,
    { path },
  );
}

function valueIn(table: Readonly<Record<string, unknown>>, name: string): string {
  const value = lookUp({ ...table }, name);
  return typeof value === "string" ? value.trim() : "";
}

function secretsOf(
  files: readonly string[],
  around: {
    readonly sealing: string;
    readonly configuration: Configuration;
    readonly exclude: boolean;
  },
): Secrets {
  const { sealing, configuration, exclude } = around;
  const keys = secretFilesOf(configuration).map(({ name }) => name);
  const there = keys.filter((name) => files.includes(`data/${name}`));
  const inFile = configuration.origins.get(keyName) === "file";
  const own = inFile ? [`${keyName} in config.toml`] : [];
  const clear = sealing === "all" || !files.includes("data/plugins.json") ? [] : ["plugins.db"];
  return {
    secrets: [...there, ...(exclude ? [] : own), ...clear],
    excluded: exclude
      ? [...keys.filter((name) => existsSync(join(configuration.config.data_dir, name))), ...own]
      : [],
  };
}

function tell(
  { manifest, skipped }: Made,
  told: { readonly shell: Shell; readonly passphrase: string | null; readonly exclude: boolean },
): void {
  const { words } = told.shell.output;
  for (const path of skipped) words(`not backed up, because it is no file: ${path}`);
  const { secrets, excluded, sealing } = manifest;
  if (secrets.length > 0 && told.passphrase === null) {
    const ways = told.exclude ? "" : ", or leave keys out with --exclude-keys";
    words(
      `the backup holds secrets: ${secrets.join(", ")}; keep it as safe as the data, encrypt it ` +
        `with --passphrase${ways}`,
    );
  }
  if (excluded.length > 0) words(`left out: ${excluded.join(", ")}`);
  if (sealing !== "none" && !secrets.some((name) => name.startsWith(keyName))) {
    words("the data encryption key is not in the backup; without it payloads cannot be read");
  }
}

function shownOf(
  { manifest, bytes, data_bytes, skipped }: Made,
  { target, passphrase }: { readonly target: string; readonly passphrase: string | null },
) {
  const { id, base, created_at, position, log_root, secrets, excluded, data_dir } = manifest;
  return {
    ...{ output: target, id, base, created_at, data_dir, position, log_root, bytes, data_bytes },
    ...{ encrypted: passphrase !== null, secrets, excluded, skipped },
  };
}
