/**
 * Writes the reference tables of README.md from the code they describe: routes, errors,
 * configuration, commands and limits, each between its two markers. Nothing else in the file
 * changes. `bun run generate` writes; a test compares and names that command when it is stale.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import { httpReasons, statusOf } from "../src/api/errors.ts";
import { followLog, streamPath } from "../src/api/live.ts";
import { operations } from "../src/api/operations.ts";
import type { Operation } from "../src/api/operations/operation.ts";
import { pathNames, routes } from "../src/api/routes.ts";
import { commands } from "../src/cli/cli.ts";
import { flagName, type Command, type Group } from "../src/cli/command.ts";
import { configKeys, variablesOf, type ConfigKey } from "../src/cli/keys.ts";
import { limits } from "../src/model/limits.ts";
import { root } from "./root.ts";

const readme = join(root, "README.md");

/** The text with every generated block as the code has it now. Throws where a marker is missing. */
export async function refresh(text: string): Promise<string> {
  const all = await everyCommand(commands, ["dbx"]);
  const blocks: Record<string, string> = {
    routes: routeTable(),
    errors: errorTable(),
    configuration: configurationTable(all),
    cli: commandReference(all),
    limits: limitTable(
      ["limits-plugins", "limits-socket", "limits-upgrade", "limits"]
        .map((name) => readFileSync(join(root, `src/model/${name}.ts`), "utf8"))
        .join(""),
    ),
  };
  return Object.entries(blocks).reduce((result, [name, block]) => {
    const [begin, end] = ["begin", "end"].map((side) => `<!-- generated:${name}:${side} -->`);
    const [before, rest, ...more] = result.split(`${begin}\n`);
    const after = rest?.split(`${end}\n`);
    if (before === undefined || after?.length !== 2 || more.length > 0) {
      throw new Error(`README.md needs the lines ${begin} and ${end}, once and in this order`);
    }
    return `${before}${begin}\n\n${block}\n\n${end}\n${after[1]}`;
  }, text);
}

/** Aligned the way the formatter does it, so that formatting and generating agree. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) =>
    Math.max(3, ...cells.map((row) => Bun.stringWidth(row[column] ?? ""))),
  );
  const line = (row: readonly string[]) => {
    const padded = row.map(
      (cell, column) => cell + " ".repeat((widths[column] ?? 0) - Bun.stringWidth(cell)),
    );
    return `| ${padded.join(" | ")} |`;
  };
  const [first = [], ...others] = cells;
  return [line(first), line(widths.map((width) => "-".repeat(width))), ...others.map(line)].join(
    "\n",
  );
}

const code = (text: string): string => `\`${text}\``;
const sentence = (text: string): string => (/[.:]$/.test(text) ? text : `${text}.`);

/** Help text as Markdown: its paragraphs, with flags, variables and keys set as code. */
const prose = (text: string): string =>
  sentence(text.replaceAll(/(?<!\n)\n(?!\n)/g, " "))
    .split("`")
    .map((part, index) =>
      index % 2 === 1
        ? part
        : part.replaceAll(
            /(?<![\w-])--[a-z][a-z-]*|\bEVENTDBX_\w+|\b_*[a-z]+(?:_[a-z]+)+\b/g,
            "`$&`",
          ),
    )
    .join("`");

function routeTable(): string {
  // The one that answers again and again is in no table; it belongs beside what answers once.
  const stream = { method: "GET", path: streamPath, status: 200, row: followLog };
  const all = routes.flatMap(({ operation, method, path, status }) => {
    const one = { method, path, status, row: operations[operation] };
    return operation === "readLog" ? [one, stream] : [one];
  });
  const rows = all.map(({ method, path, status, row }) => {
    const { summary, grant, input }: Operation = row;
    const inPath = pathNames(path);
    const given = Object.keys(input.properties)
      .filter((name) => !inPath.includes(name))
      .map((name) => code(input.required?.includes(name) === true ? name : `${name}?`));
    return [
      code(`${method} ${path}`),
      grant === null ? "none" : code(grant),
      summary,
      given.join(", ") || "nothing",
      // What was made is told from what was replaced.
      method === "PUT" ? `${status}, new: 201` : String(status),
    ];
  });
  return table(["Method and path", "Grant", "What it does", "Query or body", "Success"], rows);
}

function errorTable(): string {
  const rows = Object.entries(statusOf).map(([name, { http, exit, retry, when }]) => [
    code(name),
    String(http),
    String(exit),
    retry,
    sentence(when.charAt(0).toUpperCase() + when.slice(1)),
  ]);
  const reasons = Object.entries(httpReasons).map(
    ([reason, { code: name, http }]) => `${http} for ${code(reason)} (${code(name)})`,
  );
  return (
    `${table(["Code", "HTTP", "Exit", "Retry", "When"], rows)}\n\n` +
    `A few faults have a status of their own, named in ${code("details.reason")}: ` +
    `${reasons.join(", ")}.`
  );
}

interface Named {
  /** `dbx token list`. */
  readonly name: string;
  readonly node: Command | Group;
}

/** Every group and command below `group`, in the order in which help shows them. */
async function everyCommand(group: Group, path: readonly string[]): Promise<Named[]> {
  const found: Named[] = [];
  for (const [word, load] of Object.entries(group.commands)) {
    const node = await load();
    const isCommand = node.kind === "group" && node.lookUpTakesFlags === true;
    const shown = (isCommand ? await node.bare?.() : undefined) ?? node;
    found.push({ name: [...path, word].join(" "), node: shown });
    if (node.kind === "group") found.push(...(await everyCommand(node, [...path, word])));
  }
  return found;
}

function commandReference(all: readonly Named[]): string {
  return all
    .map(({ name, node }) => {
      if (node.kind === "group") return `### ${code(name)}\n\n${prose(node.summary)}`;
      const level = name.split(" ").length > 2 ? "####" : "###";
      const { summary, about, flags } = node;
      const usage = code([name, ...wordsOf(node), "[flags]"].join(" "));
      // `restart` takes what `start` takes: said once.
      const twin = all.find((other) => other.node.kind === "command" && other.node.flags === flags);
      const own = twin === undefined || twin.name === name ? flags.properties : {};
      const rows = Object.entries(own)
        .filter(([flag, schema]) => flag !== "json" && schema["hidden"] !== true)
        .map(([flag, schema]) => flagRow({ flag, schema, node }));
      const words = prose([sentence(summary), about].filter((part) => part !== "").join(" "));
      const exits = Object.entries(node.exits).map(
        ([exit, meaning]) => `Exit code ${exit}: ${sentence(meaning)}`,
      );
      return [
        `${level} ${code(name)}`,
        ...(node.words.length === 0 ? [] : [usage]),
        words,
        ...(own === flags.properties ? [] : [`Takes the flags of ${code(twin?.name ?? "")}.`]),
        ...(rows.length === 0 ? [] : [table(["Flag", "Meaning"], rows)]),
        ...exits,
      ].join("\n\n");
    })
    .join("\n\n");
}

/** Words stand for flags, in their order: `<aggregate> [<event>]`. */
function wordsOf({ words, flags }: Command): string[] {
  const required = flags.required ?? [];
  return words.map((word) =>
    required.includes(word) ? `<${flagName(word)}>` : `[<${flagName(word)}>]`,
  );
}

function flagRow({
  flag,
  schema,
  node,
}: {
  flag: string;
  schema: TSchema;
  node: Command;
}): string[] {
  const description = String(schema["description"] ?? "");
  const need = node.flags.required?.includes(flag) === true ? " Required." : "";
  const idle = schema["reserved"] === true ? " Kept for later; nothing follows it yet." : "";
  return [spellingOf(flag, schema), prose(description) + need + idle];
}

/** A flag as it is written, with its value: `--take <n>`. */
function spellingOf(flag: string, schema: TSchema): string {
  const name = `--${flagName(flag)}`;
  if (schema["type"] === "boolean") {
    return schema["negatable"] === true
      ? `${code(name)}, ${code(`--no-${flagName(flag)}`)}`
      : code(name);
  }
  const hint = String(schema["hint"] ?? (schema["type"] === "integer" ? "n" : "text"));
  const value = `<${hint}>`;
  return code("valueWhenBare" in schema ? `${name}[=${value}]` : `${name} ${value}`);
}

function configurationTable(all: readonly Named[]): string {
  const rows = configKeys
    .filter(({ reserved }) => !reserved)
    .map((key) => {
      const fallback: unknown = key.schema["default"];
      return [
        code(key.name),
        fallback === undefined ? "not set" : code(JSON.stringify(fallback)),
        variablesOf(key).map(code).join(", "),
        flagsOfKey(key, all).join(", ") || "none",
        !key.live ? "after a restart" : key.startsOff ? "at once, once on" : "at once",
        prose(String(key.schema["description"] ?? "")),
      ];
    });
  return table(["Key", "Default", "Environment", "Flag", "Takes effect", "Meaning"], rows);
}

/** Keys whose flag has another name, because it gives something else than the stored value. */
const flagOfKey: Readonly<Record<string, string>> = {
  data_encryption_key: "dek",
  "admin.master_key_hash": "master_key",
};

/** Where a key can be given on the command line: by `dbx config`, or by `dbx start`. */
function flagsOfKey({ name }: ConfigKey, all: readonly Named[]): string[] {
  const wanted = flagOfKey[name] ?? name.replace(/^api\./, "");
  const found = ["dbx config", "dbx start"].flatMap((command) => {
    const node = all.find((entry) => entry.name === command)?.node;
    const has = node?.kind === "command" && Object.hasOwn(node.flags.properties, wanted);
    return has ? [command.replace("dbx ", "")] : [];
  });
  return found.length === 0 ? [] : [`${code(`--${flagName(wanted)}`)} (${found.join(", ")})`];
}

/** The comment before each entry is its reason; it exists in the text only. */
function limitTable(source: string): string {
  const reasons = new Map(
    [...source.matchAll(/\/\*\*([\s\S]*?)\*\/\s*(\w+):/g)].map(([, words = "", name = ""]) => [
      name,
      words.replaceAll(/\s*\n\s*\*\s*/g, " ").trim(),
    ]),
  );
  const rows = Object.entries(limits).map(([name, value]) => {
    const reason = reasons.get(name);
    if (reason === undefined) throw new Error(`src/model/limits.ts gives no reason for ${name}`);
    return [code(name), amount(name, value), prose(reason)];
  });
  return table(["Limit", "Value", "What it bounds, and why"], rows);
}

/** The unit is part of a limit's name. */
function amount(name: string, value: number): string {
  const units: readonly (readonly [RegExp, readonly (readonly [number, string])[]])[] = [
    [
      /_bytes(?:_|$)/,
      [
        [1024 ** 2, "MiB"],
        [1024, "KiB"],
        [1, "bytes"],
      ],
    ],
    [
      /_ms(?:_|$)/,
      [
        [86_400_000, "d"],
        [60_000, "min"],
        [1000, "s"],
        [1, "ms"],
      ],
    ],
    [/_seconds(?:_|$)/, [[1, "s"]]],
    [/_chars(?:_|$)/, [[1, "characters"]]],
  ];
  const [, steps = [[1, ""]]] = units.find(([pattern]) => pattern.test(name)) ?? [];
  const [size = 1, unit = ""] = steps.find(([step]) => value % step === 0) ?? [];
  return `${(value / size).toLocaleString("en-US")} ${unit}`.trim();
}

if (import.meta.main) {
  const text = readFileSync(readme, "utf8");
  const fresh = await refresh(text);
  if (fresh !== text) writeFileSync(readme, fresh);
  process.stdout.write(fresh === text ? "README.md is up to date\n" : "README.md refreshed\n");
}
