// `dbx upgrade` and `dbx upgrade list`: another version in the place of this executable.

import { Type, type Static } from "@sinclair/typebox";
import { failedPrecondition, notFound } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { realSystem } from "../../system.ts";
import { version as current } from "../../version.ts";
import { command, type Group } from "../command.ts";
import { locateServer } from "../configuration.ts";
import { interruptible } from "../interrupt.ts";
import { afterDoing } from "../output.ts";
import { createMeter } from "../progress.ts";
import type { Shell } from "../shell.ts";
import { requireReadable } from "../upgrade/data.ts";
import { installRelease } from "../upgrade/install.ts";
import { requireOwn } from "../upgrade/keeper.ts";
import { releaseLine, releaseValue } from "../upgrade/list.ts";
import { siteOf } from "../upgrade/place.ts";
import { installerFor } from "../upgrade/platform.ts";
import { findRelease, listReleases, type Release } from "../upgrade/releases.ts";
import { offerRestart } from "../upgrade/server.ts";
import { createSource, type Progress, type Source } from "../upgrade/source.ts";
import { versionOf, wantedTag } from "../upgrade/tag.ts";
import { strict } from "./key-flags.ts";

const timeout = Type.Optional(
  Type.Integer({
    minimum: 1,
    maximum: limits.upgrade_silence_seconds_max,
    hint: "seconds",
    description: "How long the place of releases may stay silent; 30 when missing.",
  }),
);
const json = Type.Optional(Type.Boolean({ description: "Print JSON." }));

const flags = Type.Object(
  {
    version: Type.Optional(
      Type.String({
        hint: "version",
        description: "A version, with or without v before it, or latest, as when missing.",
      }),
    ),
    print_only: Type.Optional(
      Type.Boolean({
        description: "Look the release up and print the line that installs it; change nothing.",
      }),
    ),
    yes: Type.Optional(Type.Boolean({ description: "Do not ask: a background server restarts." })),
    restart: Type.Optional(
      Type.Boolean({
        negatable: true,
        description: "Restart a server that runs in the background, without asking.",
      }),
    ),
    force: Type.Optional(
      Type.Boolean({
        description: "Install even the same version, and over what a package manager looks after.",
      }),
    ),
    timeout,
    json,
  },
  strict,
);

const fetching = {
  3: "no such release, or none of its files is for this platform",
  7: "the place of releases does not answer, or its rate limit is used up",
};

const install = command({
  needs: "machine",
  summary: "Replace this dbx by another version.",
  about:
    "Downloads the release's executable for this machine, checks its SHA-256 against everything that the\n" +
    "release says about it, tries it, and puts it in the place of the running one by a single rename. What\n" +
    "fails, or is killed, leaves the one that was there. A version that cannot open the data directory is\n" +
    "refused. A background server goes on with the former version until it is restarted, which is asked on\n" +
    "a terminal. `dbx upgrade list` shows what there is, and `dbx upgrade@2.1.0` is short for\n" +
    "`dbx upgrade 2.1.0`.\n" +
    "\n" +
    "DBX_RELEASES_URL names another place of releases than GitHub's, with the same paths below it. A token\n" +
    "against its rate limit comes from EVENTDBX_GITHUB_TOKEN, else from GITHUB_TOKEN; no other place gets it.",
  flags,
  words: ["version"],
  examples: [
    "dbx upgrade",
    "dbx upgrade list",
    "dbx upgrade v2.1.0 --restart",
    "dbx upgrade@2.1.0",
    "dbx upgrade latest --print-only",
  ],
  exits: {
    ...fetching,
    2: "no version, or one below v1.13.2, which nobody can upgrade to",
    4: "refused: a checksum, a data directory that it cannot open, or a file that others look after",
    5: "the executable is in a folder that this user may not write to",
  },
  run,
});

const list = command({
  needs: "machine",
  summary: "List the released versions, the newest first.",
  about: "`dbx upgrade@list` is short for it, and `-n` for `--limit`.",
  flags: Type.Object(
    {
      limit: Type.Optional(
        Type.Integer({
          maximum: limits.upgrade_listed_max,
          description: "How many; 20 when missing, at least 1.",
        }),
      ),
      timeout,
      json,
    },
    strict,
  ),
  examples: ["dbx upgrade list", "dbx upgrade list --limit 5 --json", "dbx upgrade@list"],
  exits: { 7: fetching[7] },
  run: async ({ limit = 20, timeout }, shell) => {
    const { output } = shell;
    const releases = await interruptible((signal) =>
      listReleases(sourceFor(shell, { timeout, signal }), Math.max(limit, 1)),
    );
    if (output.json) return output.jsonValue(releases.map(releaseValue));
    const lines = releases.map(releaseLine);
    return output.data(lines.length === 0 ? "(no releases found)" : lines.join("\n"));
  },
});

export const upgrade: Group = {
  kind: "group",
  summary: "Replace this dbx by another version, or list what there is.",
  commands: { list: async () => list },
  bare: async () => install,
  lookUp: async () => install,
  lookUpTakesFlags: true,
};

const sourceFor = (
  { env }: Shell,
  { timeout, signal }: { readonly timeout: number | undefined; readonly signal: AbortSignal },
): Source =>
  createSource({
    env,
    silence_ms: (timeout ?? limits.upgrade_silence_seconds_default) * 1000,
    signal,
  });

async function run(given: Static<typeof flags>, shell: Shell): Promise<void> {
  const { output } = shell;
  const tag = wantedTag(given.version ?? "");
  if (tag !== null) versionOf(tag);
  if (given.print_only === true) {
    const { release } = await interruptible((signal) =>
      findRelease(sourceFor(shell, { timeout: given.timeout, signal }), tag),
    );
    return printLine(release, shell);
  }
  const replaced = await interruptible((signal) => replace(given, { shell, tag, signal }));
  if (replaced === null) return;
  const { data_dir, ...value } = replaced;
  const { path: program, from, to: version } = value;
  const words = `dbx ${from} is now dbx ${version} at ${program}`;
  if (!output.json) await afterDoing({ words, details: value }, output.data(words));
  const wanted = given.restart ?? (given.yes === true ? true : undefined);
  const restart = await offerRestart({ shell, data_dir, program, version, wanted });
  if (!output.json) return;
  const done = output.jsonValue({ upgraded: true, ...value, ...restart });
  return afterDoing({ words, details: value }, done);
}

interface Replaced {
  readonly from: string;
  readonly to: string;
  readonly path: string;
  readonly tag: string;
  readonly asset: string;
  readonly sha256: string;
  readonly data_dir: string;
}

/** Null where there is nothing to do, which is said. */
async function replace(
  { force = false, timeout }: Static<typeof flags>,
  options: { readonly shell: Shell; readonly tag: string | null; readonly signal: AbortSignal },
): Promise<Replaced | null> {
  const { shell, signal } = options;
  const { output, env } = shell;
  if (!Bun.isStandaloneExecutable) {
    throw failedPrecondition(
      "this dbx runs from a checkout, where there is no executable to replace: git pull instead, or " +
        "install a release (dbx upgrade --print-only prints how)",
    );
  }
  const site = siteOf(process.execPath);
  if (!force) requireOwn(site.path, env);
  const source = sourceFor(shell, { timeout, signal });
  const { release, version } = await findRelease(source, options.tag);
  const { tag_name: tag } = release;
  const value = { from: current, to: version, path: site.path, tag };
  if (version === current && !force) {
    const words = `dbx ${version} is installed already; --force installs it again`;
    await (output.json ? output.jsonValue({ upgraded: false, ...value }) : output.data(words));
    return null;
  }
  const { config, warnings } = await locateServer(shell);
  for (const warning of warnings) output.words(`warning: ${warning}`);
  const { data_dir } = config;
  const { progress, end } = meter(shell);
  const program = await installRelease({
    ...{ source, release, version, site, env, signal, progress },
    now: realSystem.now,
    requireFit: (manifest) => requireReadable(data_dir, { tag, version, from: current, manifest }),
  }).finally(end);
  return { ...value, ...program, data_dir };
}

/** What EventDBX 1 would have run. */
function printLine({ tag_name: tag, assets = [] }: Release, { output }: Shell): Promise<void> {
  const { name, line, via } = installerFor(process.platform);
  const url = assets.find((asset) => asset.name === name)?.browser_download_url;
  if (url === undefined) {
    throw notFound(`release ${tag} has no ${name}`, { tag, asset: name });
  }
  const command = line(url);
  if (output.json) return output.jsonValue({ tag, command });
  return output.data(`Installing EventDBX CLI (${tag}) ${via}: ${command}`);
}

const kib = 1_024;

function meter({ output }: Shell): { readonly progress: Progress; readonly end: () => void } {
  let shown: ReturnType<typeof createMeter> | null = null;
  let done = 0;
  return {
    progress: ({ bytes, total }) => {
      shown ??= createMeter(output, { total: total === null ? null : total / kib, unit: "KiB" });
      shown.advance((bytes - done) / kib);
      done = bytes;
    },
    end: () => shown?.[Symbol.dispose](),
  };
}
