// The command tree and the way through it: words to a command, an error to words and an exit code.

import { existsSync, readFileSync } from "node:fs";
import { statusOf, toWire, type WireError } from "../api/errors.ts";
import { DbxError, invalidArgument } from "../model/error.ts";
import { nearest } from "../model/nearest.ts";
import { globalFlags, type Command, type Group } from "./command.ts";
import { hintFor } from "./hint.ts";
import { pairs, ReaderGone } from "./output.ts";
import { openShell, type RunWords, type Shell } from "./shell.ts";
import { upgradeWords } from "./upgrade/words.ts";

export const commands: Group = {
  kind: "group",
  summary: "An event-sourced, append-only database that proves its history.",
  commands: {
    start: async () => (await import("./commands/start.ts")).start,
    stop: async () => (await import("./commands/lifecycle.ts")).stop,
    status: async () => (await import("./commands/lifecycle.ts")).status,
    restart: async () => (await import("./commands/start.ts")).restart,
    destroy: async () => (await import("./commands/lifecycle.ts")).destroy,
    config: async () => (await import("./commands/config.ts")).config,
    token: async () => (await import("./commands/token.ts")).token,
    schema: async () => (await import("./commands/schema.ts")).schema,
    aggregate: async () => (await import("./commands/aggregate.ts")).aggregate,
    plugin: async () => (await import("./commands/plugin.ts")).plugin,
    queue: async () => (await import("./commands/queue.ts")).queue,
    audit: async () => (await import("./commands/audit.ts")).audit,
    remote: async () => (await import("./commands/remote.ts")).remote,
    push: async () => (await import("./commands/sync.ts")).push,
    pull: async () => (await import("./commands/sync.ts")).pull,
    backup: async () => (await import("./commands/backup.ts")).backup,
    restore: async () => (await import("./commands/restore.ts")).restore,
    upgrade: async () => (await import("./commands/upgrade.ts")).upgrade,
    completions: async () => (await import("./commands/completions.ts")).completionsOf(commands),
    man: async () => (await import("./commands/man.ts")).manOf(commands),
    licenses: async () => (await import("./commands/licenses.ts")).licenses,
  },
};

/** In: the words after `dbx`. Out: the exit code. */
export function runCommandLine(args: readonly string[]): Promise<number> {
  return runWords(args, ({ json, named }) => {
    const { config: configPath, url, "ca-file": caFile } = named;
    const shell = openShell({ configPath, url, caFile, json, runWords });
    return { shell, check: () => refuseBrokenText(args) };
  });
}

/** The command tree, for whatever shell it is given. */
export const runWords: RunWords = async (args, placeFor) => {
  const { named, help, rest, fault } = takeGlobals(args);
  const { shell, check } = placeFor({ json: beforeTerminator(rest).includes("--json"), named });
  const path: string[] = [];
  try {
    if (fault !== null) throw fault;
    check();
    return await dispatch({ path, help, rest: upgradeWords(rest), shell });
  } catch (error) {
    if (error instanceof ReaderGone) return 0;
    return report(error, { path, rest, shell });
  }
};

/**
 * The runtime turns bytes that are not UTF-8 into U+FFFD, which would be stored for ever. Whether
 * somebody wrote that character is known where the system shows the bytes.
 */
function refuseBrokenText(args: readonly string[]): void {
  const argument = args.find((arg) => arg.includes("\ufffd"));
  if (argument === undefined) return;
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(readFileSync("/proc/self/cmdline"));
  } catch (cause) {
    const shown = JSON.stringify(argument);
    throw invalidArgument(`the argument ${shown} is not UTF-8 text`, { argument }, { cause });
  }
}

type GlobalFlag = (typeof globalFlags)[number];

interface Globals {
  readonly named: Readonly<Partial<Record<GlobalFlag, string>>>;
  readonly help: boolean;
  readonly rest: readonly string[];
  readonly fault: DbxError | null;
}

/** `--config <path>`, `--url <url>` and `--help` may stand anywhere before `--`. */
function takeGlobals(args: readonly string[]): Globals {
  const known = beforeTerminator(args);
  const rest: string[] = [];
  const named: Partial<Record<GlobalFlag, string>> = {};
  let help = false;
  let fault: DbxError | null = null;
  for (let index = 0; index < known.length; index++) {
    const arg = known[index] ?? "";
    const name = globalFlags.find((each) => arg === `--${each}` || arg.startsWith(`--${each}=`));
    if (arg === "--help" || arg === "-h") help = true;
    else if (name === undefined) rest.push(arg);
    else {
      const value = arg === `--${name}` ? known[++index] : arg.slice(name.length + 3);
      const flag = `--${name}`;
      if (named[name] !== undefined) fault ??= invalidArgument(`${flag} is given twice`, { flag });
      else if (value === undefined || value === "" || value.startsWith("--")) {
        fault ??= invalidArgument(`${flag} needs ${valueOf[name]}`, { flag });
      } else named[name] = value;
    }
  }
  return { named, help, rest: [...rest, ...args.slice(known.length)], fault };
}

const valueOf: Readonly<Record<GlobalFlag, string>> = {
  config: "a path",
  url: "the address of a server, such as https://db.example.com:7070",
  "ca-file": "a path",
};

function beforeTerminator(args: readonly string[]): readonly string[] {
  const end = args.indexOf("--");
  return end === -1 ? args : args.slice(0, end);
}

async function dispatch(options: {
  path: string[];
  help: boolean;
  rest: readonly string[];
  shell: Shell;
}): Promise<number> {
  const { path, shell } = options;
  const { help, rest } = wantsHelp(options);
  let node: Command | Group = commands;
  let at = 0;
  while (node.kind === "group") {
    const name = rest[at];
    // `--json` is a flag of every command, so it may stand before the command as well.
    if (name === "--json") {
      at++;
      continue;
    }
    if (name === undefined || name.startsWith("-") || asksVersion(name, path)) {
      const isCommand = node.lookUpTakesFlags === true || !help;
      if (node.bare !== undefined && isCommand) node = await node.bare();
      break;
    }
    const known = Object.hasOwn(node.commands, name);
    const alone = rest.slice(at + 1).every((arg) => arg === "--json");
    const looksUp = node.lookUpTakesFlags === true || (alone && !help);
    if (!known && looksUp && node.lookUp !== undefined) {
      node = await node.lookUp();
      break;
    }
    node = await findCommand(node, { name, path });
    path.push(name);
    at++;
  }
  if (help) return showHelp(node, { path, shell, wanted: true });
  if (node.kind === "command") {
    refuseOutOfReach(node, options);
    refuseMissingConfig(path, shell);
    const early = rest.slice(0, at).filter((arg) => arg === "--json");
    return await node.invoke([...early, ...rest.slice(at)], shell);
  }
  const [stray, extra] = rest.slice(at).filter((arg) => arg !== "--json");
  if (stray === undefined) return showHelp(node, { path, shell, wanted: false });
  if (!asksVersion(stray, path)) throw unknownFlag(stray, path);
  if (extra === undefined) return showVersion(shell);
  throw invalidArgument(`unexpected argument ${JSON.stringify(extra)}`, { argument: extra });
}

/** `dbx help token` is `dbx token --help`. */
function wantsHelp({ help, rest }: { help: boolean; rest: readonly string[] }): {
  help: boolean;
  rest: readonly string[];
} {
  const at = rest.findIndex((arg) => arg !== "--json");
  return rest[at] === "help" ? { help: true, rest: rest.toSpliced(at, 1) } : { help, rest };
}

const asksVersion = (word: string, path: readonly string[]): boolean =>
  path.length === 0 && ["--version", "-V", "version"].includes(word);

function unknownFlag(flag: string, path: readonly string[]): DbxError {
  const everywhere = [...globalFlags.map((name) => `--${name}`), "--help", "--json"];
  const known = [...everywhere, ...(path.length === 0 ? ["--version"] : [])];
  const guess = nearest(flag, known);
  const meant = guess === undefined ? "" : `; did you mean ${guess}?`;
  return invalidArgument(`unknown flag ${flag}${meant}`, { flag });
}

/**
 * Whoever named a server elsewhere means that one; by the environment no less than by a flag. To
 * stop or destroy the one on this machine instead would be the wrong one, without a word.
 */
function refuseOutOfReach(
  { needs }: Command,
  { path, shell: { reach } }: { path: readonly string[]; shell: Shell },
): void {
  const { kind } = reach;
  const name = ["dbx", ...path].join(" ");
  if (kind === "served" && needs !== null) {
    const problem = needs === "machine" ? "acts on its own machine" : "writes files";
    throw invalidArgument(`${name} ${problem}; run it there`, { command: name });
  }
  if (kind !== "url" || needs !== "machine") return;
  const { place, text } = reach.url;
  const problem = `${name} acts on the machine it runs on, so it takes no ${place}`;
  if (place === "--url") throw invalidArgument(problem, { flag: place });
  const remedy = `EVENTDBX_URL names ${text}; unset it to act on this machine`;
  throw invalidArgument(`${problem}; ${remedy}`, { key: place });
}

/** These make the configuration file where there is none. */
const configMakers: readonly string[] = ["start", "config", "restore"];

/** With a mistyped path, every other command would act on the default database instead. */
function refuseMissingConfig([name = ""]: readonly string[], shell: Shell): void {
  const { configPath: file, configGiven } = shell;
  if (!configGiven || configMakers.includes(name) || existsSync(file)) return;
  throw invalidArgument(`--config: ${file} does not exist`, { flag: "--config", file });
}

async function findCommand(
  group: Group,
  { name, path }: { name: string; path: readonly string[] },
): Promise<Command | Group> {
  const load = Object.hasOwn(group.commands, name) ? group.commands[name] : undefined;
  if (load !== undefined) return await load();
  const known = [...Object.keys(group.commands), ...(path.length === 0 ? ["help", "version"] : [])];
  const guess = nearest(name, known);
  const full = ["dbx", ...path].join(" ");
  throw invalidArgument(
    `unknown command ${JSON.stringify(name)}${guess === undefined ? "" : `; did you mean ${full} ${guess}?`}`,
    { command: name },
  );
}

/** Asked for, help is data and success; shown because a command is missing, it is neither. */
async function showHelp(
  node: Command | Group,
  options: { path: readonly string[]; shell: Shell; wanted: boolean },
): Promise<number> {
  const { helpText } = await import("./help.ts");
  const text = await helpText(node, options.path);
  if (options.wanted) await options.shell.output.data(text);
  else options.shell.output.words(text);
  return options.wanted ? 0 : statusOf.invalid_argument.exit;
}

async function showVersion(shell: Shell): Promise<number> {
  const { version, commit, target } = await import("../version.ts");
  if (shell.output.json) await shell.output.jsonValue({ version, commit, target });
  else await shell.output.data(`dbx ${version}`);
  return 0;
}

/** Says on stderr what happened and what to try. Out: the exit code. */
function report(
  error: unknown,
  { path, rest, shell }: { path: readonly string[]; rest: readonly string[]; shell: Shell },
): number {
  const { output, reach } = shell;
  const wire = toWire(error);
  const isExpected = error instanceof DbxError;
  if (!isExpected && reach.kind === "served") reach.failed(error);
  output.endProgress();
  if (output.json) {
    output.words(JSON.stringify(wire));
  } else if (isExpected || reach.kind === "served") {
    output.words(`${output.label("error:")} ${wire.message} (${wire.code})`);
    for (const line of detailLines(wire)) output.words(line);
    const environmentToken = actsByEnvironment({ path, rest, shell });
    const hint = hintFor(wire, {
      ...{ path, environmentToken, kind: reach.kind },
    });
    if (hint !== null) output.words(`       hint:  ${hint}`);
  } else {
    // A defect: whoever reports it needs the stack.
    const trace = error instanceof Error ? (error.stack ?? error.message) : String(error);
    output.words(`${output.label("error:")} ${trace} (internal)`);
  }
  return statusOf[wire.code].exit;
}

/** Whether the caller's token was the environment's. Behind `dbx token`, `--token` is another's. */
function actsByEnvironment(options: {
  path: readonly string[];
  rest: readonly string[];
  shell: Shell;
}): boolean {
  const { path, rest, shell } = options;
  const given = beforeTerminator(rest).some((arg) => /^--token(?:=|$)/.test(arg));
  return (shell.env["EVENTDBX_TOKEN"]?.trim() ?? "") !== "" && (path[0] === "token" || !given);
}

/**
 * Lists that the message does not say already, one entry a line: the faults of `verify`, a
 * log's end.
 */
function detailLines({ message, details }: WireError): string[] {
  return Object.entries(details).flatMap(([name, value]) => {
    if (!Array.isArray(value)) return [];
    return value
      .map(wordsOf)
      .filter((entry) => !message.includes(entry))
      .map((entry) => `       ${name}: ${entry}`);
  });
}

/** A fault of `verify` as `aggregate_type=a aggregate_id=1 version=3: the payload …`. */
function wordsOf(entry: unknown): string {
  if (typeof entry === "string") return entry;
  if (typeof entry !== "object" || entry === null || !("fault" in entry)) {
    return JSON.stringify(entry);
  }
  const { fault, ...where } = entry;
  return [pairs(where), String(fault)].filter((part) => part !== "").join(": ");
}
