// `dbx plugin config …`: makes a plugin, or replaces it as a whole. It is enabled at once.

import { resolve } from "node:path";
import { Type, type TObject, type Static } from "@sinclair/typebox";
import { invalidArgument } from "../../model/error.ts";
import { logLevels, type PluginConfig, type PluginKind } from "../../model/plugin.ts";
import { command, type Command, type Group } from "../command.ts";
import { loadConfiguration } from "../configuration.ts";
import { afterDoing } from "../output.ts";
import { requireFiles, type Shell } from "../shell.ts";
import { textOf } from "./append.ts";
import { asking, callFlags, strict } from "./key-flags.ts";

const name = Type.String({ hint: "label", description: "The plugin's label." });
const common = {
  disable: Type.Optional(Type.Boolean({ description: "Keep it, and deliver nothing yet." })),
  from_beginning: Type.Optional(
    Type.Boolean({ description: "Begin a new one with the first event instead of the next." }),
  ),
  replicated: Type.Optional(
    Type.Boolean({ description: "Also deliver events that came from another node." }),
  ),
  ...callFlags,
};

const about =
  "Replaces a plugin of the same kind and label as a whole; what is not given has its default. It is\n" +
  "enabled at once, unchecked, and begins with the next event; `dbx plugin enable` checks.";

/** A kind's command: its own flags, and how they become its configuration. */
function configuring<Own extends TObject>(kind: {
  readonly type: PluginKind;
  /** As messages write it. */
  readonly title: string;
  readonly summary: string;
  readonly about?: string;
  readonly needs?: "machine";
  readonly own: Own;
  readonly examples: readonly string[];
  readonly configOf: (flags: Static<Own>, shell: Shell) => Promise<PluginConfig>;
}): Command {
  const { type, title, summary, own, examples, configOf, needs } = kind;
  const flags = Type.Object({ name, ...own.properties, ...common }, strict);
  return command({
    ...(needs === undefined ? {} : { needs }),
    summary,
    about: kind.about === undefined ? about : `${about}\n\n${kind.about}`,
    flags,
    examples,
    exits: { 4: "another kind has this label, or the plugin is not installed" },
    run: async (given: Common & Static<Own>, shell) => {
      const kept = given.replicated === true ? { replicated: true } : {};
      const config = { ...(await configOf(given, shell)), ...kept };
      const { name: label, disable = false, from_beginning, token } = given;
      const status = await asking({ shell, access: "write", token }, ({ ask }) =>
        ask("putPlugin", {
          ...{ name: label, config },
          ...(disable ? { enabled: false } : {}),
          ...(from_beginning === undefined ? {} : { from_beginning }),
        }),
      );
      const { output } = shell;
      const words = `${title} plugin '${label}' ${disable ? "disabled" : "configured"}`;
      await afterDoing(
        { words, details: { plugin: label, type } },
        output.json ? output.jsonValue(status) : output.data(words),
      );
    },
  });
}

interface Common {
  readonly name: string;
  readonly disable?: boolean;
  readonly from_beginning?: boolean;
  readonly replicated?: boolean;
  readonly token?: string;
}

const keyValues = (description: string) =>
  Type.Optional(Type.Array(Type.String(), { hint: "KEY=VALUE", description }));

const tcp = configuring({
  type: "tcp",
  title: "TCP",
  summary: "Send each event as a line of JSON over TCP.",
  own: Type.Object({
    host: Type.String({ hint: "host", description: "Host name or address." }),
    port: Type.Integer({ minimum: 1, maximum: 65_535, description: "Port." }),
  }),
  examples: ["dbx plugin config tcp --name feed --host 127.0.0.1 --port 9000"],
  configOf: async ({ host, port }) => ({ type: "tcp", host, port }),
});

const http = configuring({
  type: "http",
  title: "HTTP",
  summary: "Post each event as JSON to a URL.",
  about:
    "A header or secret on the command line is seen by whoever lists processes: --header-file and\n" +
    "--secret - read them from a file or stdin.",
  own: Type.Object({
    endpoint: Type.String({ hint: "host|url", description: "Where events are posted to." }),
    https: Type.Optional(
      Type.Boolean({ description: "An endpoint without a scheme is https, not http." }),
    ),
    header: keyValues("A header of each request; may be given several times."),
    header_file: Type.Optional(
      Type.String({ hint: "path|-", description: "A file with headers, KEY=VALUE a line." }),
    ),
    secret: Type.Optional(
      Type.String({
        hint: "text|-",
        description: "Sign each request with HMAC-SHA-256 under this; `-` reads it from stdin.",
      }),
    ),
  }),
  examples: [
    "dbx plugin config http --name hook --endpoint https://example.com/events --secret -",
    "dbx plugin config http --name hook --endpoint example.com/events --https --header-file h.txt",
  ],
  configOf: async ({ endpoint, https = false, header, header_file, secret }, shell) => {
    if (header_file === "-" && secret === "-") {
      throw invalidArgument("--header-file and --secret cannot both be stdin", {
        flag: "--secret",
      });
    }
    const headers = await pairsOf(header, header_file, { shell, flag: "--header" });
    const signing = secret === undefined ? {} : { secret: await wordOf(secret, "--secret", shell) };
    return { type: "http", endpoint, headers, https, ...signing };
  },
});

const grpc = configuring({
  type: "grpc",
  title: "gRPC",
  summary: "Hand events to another node, or to whatever serves Replication/ApplyEvents.",
  own: Type.Object({
    endpoint: Type.String({
      hint: "host:port|url",
      description: "grpc://, grpcs://, http:// or https:// with host and port, or these alone.",
    }),
    bearer: Type.Optional(
      Type.String({
        hint: "token|-",
        description: "A token of the other node, sent with each call; `-` reads it from stdin.",
      }),
    ),
  }),
  examples: ["dbx plugin config grpc --name standby --endpoint grpcs://standby:7070 --bearer -"],
  configOf: async ({ endpoint, bearer }, shell) => ({
    ...{ type: "grpc", endpoint },
    ...(bearer === undefined ? {} : { token: await wordOf(bearer, "--bearer", shell) }),
  }),
});

const log = configuring({
  type: "log",
  title: "Log",
  summary: "Write a line about each event into the log of dbx.",
  about:
    "Placeholders of the template: {aggregate} {id} {event} {version} {position} {event_id} {user}\n" +
    "{group} {note} {payload}. Payloads are in the log only where the template asks for them.",
  own: Type.Object({
    level: Type.Optional(
      Type.Union(
        logLevels.map((level) => Type.Literal(level)),
        { hint: logLevels.join("|"), description: "info when missing." },
      ),
    ),
    template: Type.Optional(Type.String({ hint: "text", description: "What the line says." })),
  }),
  examples: [
    'dbx plugin config log --name trail --level info --template "{aggregate}/{id}: {event}"',
  ],
  configOf: async ({ level = "info", template = null }) => ({ type: "log", level, template }),
});

const process = configuring({
  type: "process",
  title: "Process",
  needs: "machine",
  summary: "Run an installed plugin and stream events to it.",
  about:
    "The program runs with a small environment (PATH, HOME, LANG, TZ, TMPDIR) and what --env adds.\n" +
    "dbx plugin install brings it.",
  own: Type.Object({
    plugin: Type.String({ hint: "id", description: "The installed plugin." }),
    version: Type.String({ hint: "semver", description: "Its version." }),
    arg: Type.Optional(
      Type.Array(Type.String(), {
        hint: "value",
        description: "An argument of the program; may be given several times.",
      }),
    ),
    env: keyValues("A variable of its environment; may be given several times."),
    env_file: Type.Optional(
      Type.String({ hint: "path|-", description: "A file with variables, KEY=VALUE a line." }),
    ),
    working_dir: Type.Optional(
      Type.String({
        hint: "path",
        description: "Where it runs; where it is installed if missing.",
      }),
    ),
  }),
  examples: [
    'dbx plugin config process --name search --plugin dbx_search --version 1.0.0 --arg "--listen=:8081"',
  ],
  configOf: async ({ plugin, version, arg = [], env, env_file, working_dir }, shell) => {
    const { bundlesIn, findBundle } = await import("../../plugins/install-registry.ts");
    const { config } = await loadConfiguration(shell, {});
    await findBundle(bundlesIn(config.data_dir), { name: plugin, version });
    return {
      ...{ type: "process", name: plugin, version, args: arg },
      env: await pairsOf(env, env_file, { shell, flag: "--env" }),
      // The server may have been started anywhere.
      working_dir: working_dir === undefined ? null : resolve(shell.cwd, working_dir),
    };
  },
});

/** The value, or the first line of stdin. */
async function wordOf(word: string, flag: string, shell: Shell): Promise<string> {
  if (word !== "-") return word;
  requireFiles(shell, `${flag} -`);
  const line = (await textOf("-", { shell, flag })).split(/\r?\n/)[0]?.trim() ?? "";
  if (line === "") throw invalidArgument(`there is nothing on stdin for ${flag}`, { flag });
  return line;
}

/** Split at the first `=`, both halves trimmed; a later one of the same name wins. */
async function pairsOf(
  words: readonly string[] = [],
  file: string | undefined,
  { shell, flag }: { shell: Shell; flag: string },
): Promise<Record<string, string>> {
  const read =
    file === undefined ? "" : await textOf(file === "-" ? "-" : `@${file}`, { shell, flag });
  const lines = read.split(/\r?\n/).filter((line) => line.trim() !== "");
  const pairs = [...lines, ...words].map((word): [string, string] => {
    const at = word.indexOf("=");
    if (at === -1) throw invalidArgument(`${flag}: missing value in a KEY=VALUE`, { flag });
    const key = word.slice(0, at).trim();
    if (key === "") throw invalidArgument(`${flag}: header key cannot be empty`, { flag });
    return [key, word.slice(at + 1).trim()];
  });
  return Object.fromEntries(pairs);
}

export const pluginConfig: Group = {
  kind: "group",
  summary: "Make a plugin of a kind, or replace it.",
  commands: {
    tcp: async () => tcp,
    http: async () => http,
    grpc: async () => grpc,
    log: async () => log,
    process: async () => process,
  },
};
