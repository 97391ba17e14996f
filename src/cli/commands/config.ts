// `dbx config`: print the settings, or keep new ones.

import { Type, type Static, type TSchema } from "@sinclair/typebox";
import { Config, dataKeyPattern } from "../../model/config.ts";
import { DbxError, failedPrecondition, invalidArgument } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { command, flagName } from "../command.ts";
import {
  isInFile,
  keepInFile,
  loadConfiguration,
  type Configuration,
  type Given,
} from "../configuration.ts";
import { findServer, findServerAlone } from "../daemon.ts";
import { configKeys } from "../keys.ts";
import { isKeyFromOutside, placeOfKey } from "../key-place.ts";
import type { Shell } from "../shell.ts";
import { connect, type Target } from "../target.ts";
import { encryptHere, requireFits, rotate, tellHere } from "./data-key.ts";
import { lookUp, writeToml } from "../toml.ts";

const { properties } = Config;

/** The key's own schema as a flag: its default is the file's business, not the flag's. */
const flag = <Schema extends TSchema>(schema: Schema) =>
  Type.Optional(Type.Unsafe<Static<Schema>>({ ...schema, default: undefined }));

const secret = (description: string) =>
  Type.Optional(Type.String({ hint: "secret|-", minLength: 1, description }));

const configFlags = Type.Object(
  {
    port: flag(properties.port),
    data_dir: flag(properties.data_dir),
    master_key: secret(
      "Master key, 16 characters or more; kept as an Argon2id hash. `-` reads it from stdin. EVENTDBX_MASTER_KEY sets the first one.",
    ),
    dek: Type.Optional(
      Type.String({
        hint: "base64|-",
        minLength: 1,
        aliases: ["data_encryption_key"],
        description: "Data encryption key, base64 of 32 bytes. `-` reads it from stdin.",
      }),
    ),
    dek_file: Type.Optional(
      Type.String({
        hint: "path",
        minLength: 1,
        description: "File that holds the data encryption key, in place of --dek.",
      }),
    ),
    rotate_dek: Type.Optional(
      Type.String({
        hint: "base64|-",
        minLength: 1,
        description: "Another data encryption key in place of the present one. `-` reads stdin.",
      }),
    ),
    memory_threshold: flag(properties.memory_threshold),
    list_page_size: flag(properties.list_page_size),
    page_limit: flag(properties.page_limit),
    payload_limit: flag(properties.payload_limit),
    snapshot_threshold: flag(properties.snapshot_threshold),
    plugin_max_attempts: flag(properties.plugin_max_attempts),
    restrict: Type.Optional(
      Type.String({
        hint: "off|default|strict",
        choices: ["off", "default", "strict"],
        description: "How strictly schemas bind.",
      }),
    ),
    json: Type.Optional(Type.Boolean({ description: "Print JSON." })),
  },
  { additionalProperties: false },
);
type ConfigFlags = Static<typeof configFlags>;

export const config = command({
  needs: "machine",
  summary: "Print the settings, or keep new ones in the configuration file.",
  about:
    "The first use that sets anything must carry --master-key and --dek (or --dek-file). Secrets on the\n" +
    "command line are seen by everybody who lists processes: give `-` and write them to stdin, one a\n" +
    "line, the master key first. A DEK in the environment (EVENTDBX_DEK) is used from there and never written to the file.\n" +
    "With a DEK everything in the data directory is encrypted, what is there already, too. --rotate-dek\n" +
    "exchanges it for another, while a server runs or not; nothing else can be set with it.",
  flags: configFlags,
  examples: [
    "dbx config",
    "{ cat master-key.txt; openssl rand -base64 32; } | dbx config --master-key - --dek -",
    "dbx config --page-limit 500",
    "dbx config --restrict strict",
    "openssl rand -base64 32 | dbx config --rotate-dek -",
  ],
  run: async (flags, shell) => {
    const { json: _json, master_key, dek, rotate_dek, ...plain } = flags;
    const given: Given = Object.fromEntries(
      Object.entries(plain).flatMap(([name, value]) =>
        value === undefined ? [] : [[name, value]],
      ),
    );
    const setsSecret = master_key !== undefined || dek !== undefined;
    if (rotate_dek !== undefined) {
      if (setsSecret || Object.keys(given).length > 0) {
        throw invalidArgument("--rotate-dek goes with no other setting", { flag: "--rotate-dek" });
      }
      return exchange(rotate_dek, shell);
    }
    if (Object.keys(given).length === 0 && !setsSecret) return print(shell);
    return keep({ shell, flags, given });
  },
});

async function exchange(word: string, shell: Shell): Promise<void> {
  const line = word === "-" ? ((await Bun.stdin.text()).split(/\r?\n/)[0] ?? "") : word;
  const data_encryption_key = checkedKey(line.trim(), "--rotate-dek");
  const configuration = await loadConfiguration(shell, {});
  const keys = await rotate({ configuration, data_encryption_key }, shell);
  const { output } = shell;
  if (output.json) return output.jsonValue({ keys });
  output.words(
    `${keys} data keys are under the new key, which is kept in ${placeOfKey(configuration)}`,
  );
}

async function print(shell: Shell): Promise<void> {
  const configuration = await loadConfiguration(shell, {});
  const { output } = shell;
  for (const warning of configuration.warnings) output.words(`warning: ${warning}`);
  const shown = printable(configuration);
  if (output.json) return output.jsonValue(shown);
  return output.data(writeToml(shown));
}

/** Secrets as `set`, the key of a file by its file; keys that this version does not act on only where somebody has set them. */
function printable({ config: current, origins }: Configuration): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const { name, secret: hidden, reserved } of configKeys) {
    const value = lookUp(current, name);
    if (value === undefined || (reserved && !origins.has(name))) continue;
    if (origins.get(name) === "key file") continue;
    const [table = "", member] = name.split(".");
    const told = hidden ? "set" : value;
    const inner = shown[table];
    if (member === undefined) shown[table] = told;
    else shown[table] = { ...(typeof inner === "object" ? inner : {}), [member]: told };
  }
  return shown;
}

interface Keeping {
  readonly shell: Shell;
  readonly flags: ConfigFlags;
  readonly given: Given;
}

async function keep({ shell, flags, given }: Keeping): Promise<void> {
  requireOneKey(flags);
  const before = await present(flags, shell);
  const secrets = withEnvironment(await readSecrets(flags), { before, shell });
  refuseIncompleteSetup(before, { ...secrets, dek: secrets.dek ?? flags.dek_file });
  const after = await loadConfiguration(shell, given);
  await refuseToLeaveServer(before, after);
  const key = secrets.dek === undefined ? undefined : checkedKey(secrets.dek, "--dek");
  const fitting =
    key ?? (flags.dek_file === undefined ? undefined : after.config.data_encryption_key);
  if (fitting !== undefined) {
    const flag = key === undefined ? "--dek-file" : "--dek";
    await requireFits({ config: before.config, data_encryption_key: fitting, flag }, shell);
  }
  const kept: Given = {
    ...given,
    ...("data_dir" in given ? { data_dir: after.config.data_dir } : {}),
    ...("restrict" in given ? { restrict: after.config.restrict } : {}),
    ...(key === undefined ? {} : { data_encryption_key: key }),
    ...(await oneKeyOnly(after, { key, flags })),
    ...(secrets.master_key === undefined
      ? {}
      : { "admin.master_key_hash": await hashOf(checkedMasterKey(secrets.master_key)) }),
  };
  const next = await configAfter(kept, before, shell);
  await tellHere({ before: before.config, next, fitting }, shell);
  await keepInFile(after.path, kept);
  shell.output.words(`configuration saved to ${after.path}`);
  for (const warning of after.warnings) shell.output.words(`warning: ${warning}`);
  const now = await loadConfiguration(shell, {});
  warnOverruled(now, { kept, shell });
  if (isKeyFromOutside(now) && !(await isInFile(now.path, "data_encryption_key"))) {
    shell.output.words(
      "the data encryption key is in the environment only: it must be there whenever dbx starts, " +
        "and without it a new database is not encrypted",
    );
  }
  await tellServer(before, shell);
  if (fitting !== undefined) await encryptHere(now, shell);
  if (shell.output.json) await shell.output.jsonValue(printable(now));
}

function requireOneKey({ dek, dek_file }: ConfigFlags): void {
  if (dek === undefined || dek_file === undefined) return;
  throw invalidArgument("--dek and --dek-file both give the data encryption key; use one of them", {
    flag: "--dek-file",
  });
}

/** A key file that is gone keeps nobody from naming another. */
async function present({ dek_file }: ConfigFlags, shell: Shell): Promise<Configuration> {
  try {
    return await loadConfiguration(shell, {});
  } catch (error) {
    if (dek_file === undefined) throw error;
    return loadConfiguration(shell, { dek_file });
  }
}

/** With the one way of giving a key goes the other, where the file has it. */
async function oneKeyOnly(
  { path, config: { dek_file } }: Configuration,
  { key, flags }: { key: string | undefined; flags: ConfigFlags },
): Promise<Given> {
  const blank = async (name: string): Promise<Given> =>
    (await isInFile(path, name)) ? { [name]: "" } : {};
  if (key !== undefined) return blank("dek_file");
  if (flags.dek_file === undefined || dek_file === undefined) return {};
  return { dek_file, ...(await blank("data_encryption_key")) };
}

/** As it will be read once this is in the file: what the environment says stays stronger. */
async function configAfter(kept: Given, { origins }: Configuration, shell: Shell): Promise<Config> {
  const holding = Object.entries(kept).filter(([name]) => origins.get(name) !== "environment");
  return (await loadConfiguration(shell, Object.fromEntries(holding))).config;
}

/** With another data directory in the file no command would find the server that runs. */
async function refuseToLeaveServer(before: Configuration, after: Configuration): Promise<void> {
  const { data_dir } = before.config;
  if (after.config.data_dir === data_dir) return;
  if ((await findServerAlone(data_dir)).state !== "running") return;
  throw failedPrecondition(`a server runs on ${data_dir}; stop it before you leave it`, {
    data_dir,
  });
}

interface Secrets {
  readonly master_key: string | undefined;
  readonly dek: string | undefined;
}

async function readSecrets(flags: ConfigFlags): Promise<Secrets> {
  const wanted = [flags.master_key, flags.dek].filter((word) => word === "-").length;
  const lines = wanted === 0 ? [] : (await Bun.stdin.text()).trimEnd().split(/\r?\n/);
  if (wanted > lines.length) {
    const order = "--master-key - and --dek - take a line of stdin each, the master key first";
    throw invalidArgument(`${order}; there is one line`, { flag: "--dek" });
  }
  const take = (word: string | undefined, name: string): string | undefined => {
    const value = (word === "-" ? lines.shift() : word)?.trim();
    if (word === undefined || (value !== undefined && value !== "")) return value;
    throw invalidArgument(`--${flagName(name)} cannot be empty`, { flag: `--${flagName(name)}` });
  };
  const master_key = take(flags.master_key, "master_key");
  const dek = take(flags.dek, "dek");
  return { master_key, dek };
}

/** The environment's master key sets one where there is none; it replaces none unasked. */
function withEnvironment(
  secrets: Secrets,
  { before, shell }: { before: Configuration; shell: Shell },
): Secrets {
  const first =
    secrets.master_key === undefined && before.config.admin.master_key_hash === undefined;
  const fromThere = shell.env["EVENTDBX_MASTER_KEY"]?.trim() || undefined;
  return first ? { ...secrets, master_key: fromThere } : secrets;
}

/**
 * Whoever sets up a database decides about its keys first, not when the disk is full of plain
 * text.
 */
function refuseIncompleteSetup({ config: current, path }: Configuration, secrets: Secrets): void {
  const missing = [
    ...((secrets.master_key ?? current.admin.master_key_hash) === undefined
      ? ["--master-key"]
      : []),
    ...((secrets.dek ?? current.data_encryption_key) === undefined ? ["--dek"] : []),
  ];
  if (missing.length === 0) return;
  throw invalidArgument(
    `the first configuration must carry --master-key and --dek (base64 of 32 bytes); ` +
      `missing: ${missing.join(", ")}`,
    { flag: missing[0], missing, path },
  );
}

function checkedKey(dek: string, flag: string): string {
  if (new RegExp(dataKeyPattern).test(dek)) return dek.endsWith("=") ? dek : `${dek}=`;
  throw invalidArgument(`${flag} must be base64 of exactly 32 bytes`, { flag });
}

/** Of one that is there already only the hash is known, and it goes on opening what it opened. */
function checkedMasterKey(master_key: string): string {
  const { master_key_chars_min } = limits;
  const flag = "--master-key";
  if (master_key.startsWith("EVT-")) {
    throw invalidArgument("a master key must not begin with EVT-, as tokens do", { flag });
  }
  if ([...master_key].length < master_key_chars_min) {
    throw invalidArgument(`a master key has at least ${master_key_chars_min} characters`, {
      ...{ flag, limit: master_key_chars_min },
    });
  }
  return master_key;
}

const hashOf = (master_key: string): Promise<string> =>
  Bun.password.hash(master_key, { algorithm: "argon2id", memoryCost: 19_456, timeCost: 2 });

/** What was kept holds only where nothing stronger says otherwise. */
function warnOverruled(
  { origins }: Configuration,
  { kept, shell }: { kept: Given; shell: Shell },
): void {
  const overruled = (name: string): boolean =>
    origins.get(name) === "environment" ||
    (name === "dek_file" && origins.get("data_encryption_key") === "environment");
  for (const name of Object.keys(kept)) {
    if (overruled(name)) {
      shell.output.words(`warning: the environment overrules ${name}`);
    }
  }
}

/** A running server follows what it can; the rest is named. */
export async function tellServer(configuration: Configuration, shell: Shell): Promise<void> {
  const found = await findServer(configuration.config.data_dir);
  if (found.state !== "running") return;
  let target: Target | null;
  try {
    target = await connect(found.record, { shell, configuration, token: undefined });
  } catch (error) {
    if (!(error instanceof DbxError)) throw error;
    // The file is kept by then; that the server has not read it again is no failure of that.
    return shell.output.words(`warning: the running server does not follow: ${error.message}`);
  }
  if (target === null) return shell.output.words("warning: the running server does not answer");
  try {
    const { applied, restart } = await target.ask("reloadConfig", {});
    if (applied.length > 0) shell.output.words(`followed at once: ${applied.join(", ")}`);
    if (restart.length > 0) shell.output.words(`needs a restart: ${restart.join(", ")}`);
  } finally {
    await target.close();
  }
}
