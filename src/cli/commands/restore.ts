// `dbx restore`: a backup becomes a data directory, once it has been found whole.

import { existsSync } from "node:fs";
import { copyFile, rename } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Type } from "@sinclair/typebox";
import { findChain } from "../../backup/chain.ts";
import { kindOf } from "../../backup/archive.ts";
import { noteRestore } from "../../backup/note.ts";
import { restoreBackup, type Unpacked } from "../../backup/restore.ts";
import type { Manifest } from "../../model/backup.ts";
import { failedPrecondition, notFound } from "../../model/error.ts";
import { readDocument } from "../../storage/documents.ts";
import { realSystem } from "../../system.ts";
import { command } from "../command.ts";
import { keepInFile, keepText, loadConfiguration } from "../configuration.ts";
import { findServer } from "../daemon.ts";
import { afterDoing } from "../output.ts";
import { askFor, passphraseFlags, readPassphrase } from "../passphrase.ts";
import { createMeter } from "../progress.ts";
import { placeFor, type ConfigPlace } from "../restore-config.ts";
import { verifyWithKeys, type Judged, type Verified } from "../restore-verify.ts";
import { namedBy, type Shell } from "../shell.ts";
import { strict } from "./key-flags.ts";

export const restore = command({
  needs: "machine",
  summary: "Bring back what `dbx backup` has made.",
  about:
    "The backup is unpacked beside the data directory and judged from end to end before anything is\n" +
    "touched; then both are exchanged. What was there stays as `<directory>.replaced-<time>`. Stop the\n" +
    "server first.",
  flags: Type.Object(
    {
      input: Type.String({ hint: "path", minLength: 1, description: "The backup." }),
      base: Type.Optional(
        Type.Array(Type.String({ minLength: 1 }), {
          hint: "path",
          description:
            "A backup on which an incremental one stands, where it is not beside it; repeatable.",
        }),
      ),
      data_dir: Type.Optional(
        Type.String({
          hint: "path",
          minLength: 1,
          description: "Restore to here; else EVENTDBX_DATA_DIR, else where it was.",
        }),
      ),
      force: Type.Optional(
        Type.Boolean({ description: "Replace a data directory that is not empty." }),
      ),
      ...passphraseFlags(
        "Of an encrypted backup; without a value it is taken from below, or asked for.",
      ),
      json: Type.Optional(Type.Boolean({ description: "Print JSON." })),
    },
    strict,
  ),
  words: [],
  examples: [
    "dbx restore --input /mnt/backups/monday.dbx",
    "dbx restore --input /mnt/backups/tuesday.dbx --data-dir /srv/eventdbx --force",
  ],
  exits: {
    3: "no such backup",
    4: "a server runs, the data directory is not empty, or a passphrase or a base is missing",
    7: "the disk refuses or has no room, or the data directory is in use",
    8: "the backup is damaged",
  },
  run: async (flags, shell) => {
    const { output } = shell;
    const input = resolve(shell.cwd, flags.input);
    const passphrase = await passphraseFor(input, flags, shell);
    const bases = (flags.base ?? []).map((path) => resolve(shell.cwd, path));
    for (const base of bases) await kindOf(base);
    const links = await findChain(input, { bases, passphrase });
    const [manifest] = links.slice(-1).map((link) => link.manifest);
    if (manifest === undefined) throw notFound(`backup archive ${input} does not exist`);
    const data_dir = targetOf(flags.data_dir, { shell, manifest });
    await refuseRunning(data_dir);
    let { verified, dek }: Judged = { verified: { verified: false, reason: "" }, dek: null };
    let place: ConfigPlace | null = null;
    using meter = createMeter(output, { total: null, unit: "MiB" });
    const { replaced } = await restoreBackup({
      ...{ links, passphrase, data_dir, replace: flags.force === true, now: realSystem.now },
      verify: async (unpacked) => {
        ({ verified, dek } = await verifyWithKeys(unpacked, shell));
        return verified.verified;
      },
      prepare: async (unpacked) => {
        await refuseRunning(data_dir);
        if (verified.verified) {
          const { data } = unpacked;
          await noteRestore(data, { manifest, dek, user: shell.user, at: realSystem.now() });
        }
        place = await prepareConfig(unpacked, { shell, data_dir, force: flags.force === true });
      },
      progress: {
        read: (bytes) => meter.advance(bytes / 2 ** 20),
        judging: () => output.progress("judging what is unpacked"),
      },
    });
    output.endProgress();
    const config = await keepConfig(place, shell);
    await tell({ config, replaced, verified, data_dir }, shell);
    const written = config === null ? "no configuration in it" : `config written to ${config.path}`;
    const words = `Restored backup from ${input} into ${data_dir} (${written})`;
    const { id, position, log_root } = manifest;
    const shown = {
      ...{ restored: data_dir, input, id, links: links.map(({ path }) => path) },
      ...{ position, log_root, ...verified, config: config?.path ?? null, replaced },
    };
    await afterDoing(
      { words, details: { data_dir } },
      output.json ? output.jsonValue(shown) : output.data(words),
    );
  },
});

/** Asked for where the backup needs one, and somebody sits there. */
async function passphraseFor(
  input: string,
  flags: { readonly passphrase?: string; readonly passphrase_file?: string },
  shell: Shell,
): Promise<string | null> {
  const kind = await kindOf(input);
  const given = await readPassphrase(flags, shell);
  if (given !== null || kind === "plain" || !shell.output.interactive) return given;
  return askFor(shell, `passphrase of ${input}: `);
}

/** As everywhere: what is stored gives way to the environment, and that to a flag. */
function targetOf(
  flag: string | undefined,
  { shell, manifest }: { readonly shell: Shell; readonly manifest: Manifest },
): string {
  const named = namedBy(
    { flag: "--data-dir", word: flag },
    { env: shell.env, variable: "EVENTDBX_DATA_DIR" },
  );
  const text = named?.text ?? manifest.data_dir;
  return /^~(?=[\\/]|$)/.test(text) ? join(shell.home, text.slice(1)) : resolve(shell.cwd, text);
}

async function refuseRunning(data_dir: string): Promise<void> {
  const found = await findServer(data_dir);
  if (found.state !== "running") return;
  const { pid } = found.record;
  throw failedPrecondition(
    `dbx server appears to be running (pid ${pid}); stop it before continuing`,
    { pid, data_dir },
  );
}

/** Puts the configuration into what is unpacked, where that is its place. */
async function prepareConfig(
  { data, config }: Unpacked,
  options: { readonly shell: Shell; readonly data_dir: string; readonly force: boolean },
): Promise<ConfigPlace | null> {
  const { shell, data_dir } = options;
  const usual = join(shell.home, ".eventdbx");
  if (config === null && data_dir === usual) return null;
  const place = await placeFor(options);
  const staged = config ?? join(data, "..", "config.toml");
  // A file that names no directory means the usual one, wherever it was made.
  const text = config === null ? "" : ((await readDocument(config)) ?? "");
  if (data_dir !== usual || /data_dir/.test(text)) await keepInFile(staged, { data_dir });
  if (place.inside === null) return { ...place, text: (await readDocument(staged)) ?? "" };
  await rename(staged, join(data, place.inside));
  return place;
}

/** A file outside the data directory is written once that is in its place. */
async function keepConfig(place: ConfigPlace | null, { configPath }: Shell) {
  if (place === null || place.inside !== null) return place;
  const aside = existsSync(configPath) && (await readDocument(configPath)) !== place.text;
  const old = aside
    ? `${configPath}.replaced-${realSystem.now().replaceAll(/[-:]|\..*/g, "")}Z`
    : null;
  if (old !== null) await copyFile(configPath, old);
  await keepText(place.path, place.text ?? "");
  return { ...place, old };
}

async function tell(
  done: {
    readonly config: (ConfigPlace & { readonly old?: string | null }) | null;
    readonly replaced: string | null;
    readonly verified: Verified;
    readonly data_dir: string;
  },
  shell: Shell,
): Promise<void> {
  const { words } = shell.output;
  const { config, replaced, verified, data_dir } = done;
  if (replaced !== null) words(`what was there is ${replaced}; remove it when you are sure`);
  if (config?.old) words(`the configuration that was there is ${config.old}`);
  if (config !== null && config.path !== shell.configPath) {
    words(
      `the usual configuration, ${shell.configPath}, is another database's and is left alone; ` +
        `use this one by dbx --config ${config.path}`,
    );
  }
  if (!verified.verified) words(`not verified: ${verified.reason}`);
  const after = await loadConfiguration(
    { ...shell, configPath: config?.path ?? shell.configPath },
    {},
  )
    .then((loaded) => loaded.config.data_dir)
    .catch(() => data_dir);
  if (after !== data_dir) {
    words(
      `warning: the environment sets another data directory, ${after}, which commands will use`,
    );
  }
}
