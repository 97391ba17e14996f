// `dbx push` and `dbx pull`: this node and a remote, fast-forward only.

import { Type, type Static } from "@sinclair/typebox";
import type { Ask } from "../../api/dbx.ts";
import { invalidArgument } from "../../model/error.ts";
import { limits } from "../../model/limits.ts";
import { compareSchemas, type SchemaDifference } from "../../replication/schemas.ts";
import type { SyncSelection } from "../../replication/positions.ts";
import { sync, type SyncReport } from "../../replication/sync.ts";
import { command } from "../command.ts";
import { loadConfiguration } from "../configuration.ts";
import type { Output } from "../output.ts";
import { createMeter, type Meter } from "../progress.ts";
import { connectRemote, remoteNamed } from "../remote.ts";
import type { Shell } from "../shell.ts";
import { withTarget } from "../target.ts";
import { callFlags, strict } from "./key-flags.ts";

type Direction = "push" | "pull";

const Flags = Type.Object(
  {
    name: Type.String({ hint: "remote", description: "The remote, as dbx remote add named it." }),
    dry_run: Type.Optional(Type.Boolean({ description: "Compare and report, change nothing." })),
    schema: Type.Optional(Type.Boolean({ description: "Bring schemas over, too." })),
    schema_only: Type.Optional(Type.Boolean({ description: "Bring schemas over, and no events." })),
    prune: Type.Optional(
      Type.Boolean({
        description: "With --schema: remove those that only the receiving side has; asks first.",
      }),
    ),
    batch_size: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: limits.transaction_events_max,
        description: "Events written at a time; 500 when missing.",
      }),
    ),
    aggregate: Type.Optional(
      Type.Array(Type.String(), {
        hint: "type",
        description: "Only aggregates of this type; may be given several times.",
      }),
    ),
    aggregate_id: Type.Optional(
      Type.Array(Type.String(), {
        hint: "type:id",
        description: "Only this aggregate; may be given several times.",
      }),
    ),
    allow_future: Type.Optional(
      Type.Boolean({ description: "Take events more than a day ahead of the receiver's clock." }),
    ),
    yes: Type.Optional(Type.Boolean({ description: "Do not ask." })),
    ...callFlags,
  },
  strict,
);
type Flags = Static<typeof Flags>;

const about =
  "Everything is compared first, and a fork (two histories of one aggregate) ends it with nothing written,\n" +
  "naming the aggregate and the first version that differs. Then events move in batches, each verified and\n" +
  "written as a whole; cut short, the next run goes on. Aggregates of which the receiving side has more are\n" +
  "reported and stay. Archived flags travel with the events, erasures too. This side's server may run or not;\n" +
  "the remote's has to. Both sides prove the keys that dbx remote add has pinned.\n" +
  "\n" +
  "Schemas are compared completely and changed all at once; those that only the receiving side has stay\n" +
  "unless --prune. Without --schema they are left alone.";

const exits = { 4: "a fork, or a remote that does not know this node's key" };

export const push = command({
  needs: "machine",
  summary: "Bring a remote up to this node.",
  about,
  flags: Flags,
  words: ["name"],
  examples: [
    "dbx push standby",
    "dbx push standby --dry-run",
    "dbx push standby --aggregate patient --aggregate-id order:o-17",
  ],
  exits,
  run: (flags, shell) => run("push", flags, shell),
});

export const pull = command({
  needs: "machine",
  summary: "Bring this node up to a remote.",
  about,
  flags: Flags,
  words: ["name"],
  examples: ["dbx pull standby", "dbx pull standby --schema", "dbx pull standby --json"],
  exits,
  run: (flags, shell) => run("pull", flags, shell),
});

async function run(direction: Direction, flags: Flags, shell: Shell): Promise<void> {
  const { output } = shell;
  const selection = selectionOf(flags);
  const withSchemas = flags.schema === true || flags.schema_only === true;
  if (flags.schema_only === true && selection.length > 0) {
    throw invalidArgument("--schema-only cannot be combined with aggregate filters", {
      flag: "--schema-only",
    });
  }
  if (flags.prune === true && !withSchemas) {
    throw invalidArgument("--prune is about schemas: it needs --schema or --schema-only", {
      flag: "--prune",
    });
  }
  const configuration = await loadConfiguration(shell, {});
  for (const warning of configuration.warnings) output.words(`warning: ${warning}`);
  const known = remoteNamed(configuration, flags.name);
  const access = direction === "pull" && flags.dry_run !== true ? "write" : "read";
  await withTarget({ shell, configuration, access, token: flags.token }, async ({ ask }) => {
    await using remote = await connectRemote(known, configuration);
    const nodes =
      direction === "push"
        ? { source: ask, target: remote.ask }
        : { source: remote.ask, target: ask };
    const job = { direction, flags, nodes, selection, output };
    // What events need at their next append comes before them, what they have needed after them.
    const before = withSchemas && direction === "push" ? await bringSchemas(job) : null;
    const events = flags.schema_only === true ? null : await bringEvents(job);
    const after = withSchemas && direction === "pull" ? await bringSchemas(job) : null;
    if (!output.json) return;
    await output.jsonValue({
      ...{ remote: flags.name, dry_run: flags.dry_run === true },
      ...(events === null ? {} : { events }),
      ...(before === null && after === null ? {} : { schemas: before ?? after }),
    });
  });
}

interface Job {
  readonly direction: Direction;
  readonly flags: Flags;
  readonly nodes: { readonly source: Ask; readonly target: Ask };
  readonly selection: SyncSelection;
  readonly output: Output;
}

async function bringEvents(job: Job): Promise<SyncReport> {
  const { direction, flags, nodes, selection, output } = job;
  let meter: Meter | null = null;
  let told = 0;
  let report: SyncReport;
  try {
    report = await sync({
      ...{ nodes, selection, dry_run: flags.dry_run === true },
      batch_events: flags.batch_size ?? batch_events_default,
      allow_future: flags.allow_future === true,
      progress: ({ phase, done, of }) => {
        if (phase === "comparing") return output.progress(`comparing: ${done} aggregates differ`);
        meter ??= createMeter(output, { total: of, unit: "events" });
        meter.advance(done - told);
        told = done;
      },
      // Cut off anywhere, nothing is half-written: the next run goes on.
      signal: new AbortController().signal,
    });
  } finally {
    output.endProgress();
  }
  for (const { aggregate_type, aggregate_id, ...versions } of report.ahead.listed) {
    const { source_version, target_version } = versions;
    output.words(
      `ahead: ${receiver(direction, flags.name)} has ${aggregate_type}/${aggregate_id} at version ` +
        `${target_version}, ${source_version} ${direction === "push" ? "here" : "there"}`,
    );
  }
  const unlisted = report.ahead.count - report.ahead.listed.length;
  if (unlisted > 0) output.words(`ahead: ${unlisted} aggregates more`);
  if (!output.json) await output.data(eventWords(job, report));
  return report;
}

const batch_events_default = 500;

const receiver = (direction: Direction, name: string): string =>
  direction === "push" ? `remote '${name}'` : "this node";

function eventWords({ direction, flags }: Job, report: SyncReport): string {
  const { name } = flags;
  const { events, types, flags: flagged } = report;
  const dry = flags.dry_run === true;
  if (events === 0 && flagged === 0) {
    return direction === "push"
      ? `remote '${name}' is up to date`
      : `local store already includes remote '${name}' changes`;
  }
  const head = dry
    ? direction === "push"
      ? `Push to remote '${name}' (dry run)`
      : `Pull from remote '${name}' (dry run)`
    : direction === "push"
      ? `Pushed ${events} event(s) to '${name}'`
      : `Pulled ${events} event(s) from '${name}'`;
  return [
    head,
    `  ${events} event(s) across ${report.aggregates} aggregate(s)`,
    ...Object.entries(types).map(([type, count]) => `    ${type}: ${count} event(s)`),
    ...(flagged === 0 ? [] : [`  ${flagged} aggregate(s) archived or restored`]),
  ].join("\n");
}

async function bringSchemas(job: Job): Promise<{ made: number; differences: unknown }> {
  const { direction, flags, nodes, output } = job;
  const { name } = flags;
  const { differences, apply } = await compareSchemas(nodes);
  const foreign = differences.filter(({ kind }) => kind === "remove");
  const prune = flags.prune === true && foreign.length > 0;
  if (prune && flags.dry_run !== true) await requireConsent(foreign, job);
  const made = flags.dry_run === true ? 0 : await apply({ prune });
  const shown = prune ? differences : differences.filter(({ kind }) => kind !== "remove");
  if (!output.json) await output.data(schemaWords(shown, { direction, name, flags }));
  if (foreign.length > 0 && !prune) {
    const names = foreign.map(({ aggregate }) => aggregate).join(", ");
    output.words(`kept: schemas that ${receiver(direction, name)} has alone: ${names}`);
  }
  return { made, differences };
}

async function requireConsent(
  foreign: readonly SchemaDifference[],
  { direction, flags, output }: Job,
): Promise<void> {
  if (flags.yes === true) return;
  const names = foreign.map(({ aggregate }) => aggregate).join(", ");
  const where = receiver(direction, flags.name);
  if (output.interactive) {
    const answer = await output.ask(
      `This removes ${foreign.length} schema(s) from ${where}: ${names}. Type 'remove' to confirm: `,
    );
    if (answer.trim().toLowerCase() === "remove") return;
  }
  throw invalidArgument(
    `--prune would remove schemas from ${where}: ${names}; say --yes to do it`,
    {
      flag: "--prune",
    },
  );
}

function schemaWords(
  differences: readonly SchemaDifference[],
  { direction, name, flags }: { direction: Direction; name: string; flags: Flags },
): string {
  if (differences.length === 0) {
    return direction === "push"
      ? `Remote '${name}' schema store already matches local`
      : `Schema store already matches remote '${name}'`;
  }
  const dry = flags.dry_run === true;
  const head =
    direction === "push"
      ? dry
        ? `Schema push to '${name}' (dry run)`
        : `Pushed schema changes to '${name}'`
      : dry
        ? `Schema pull from '${name}' (dry run)`
        : `Pulled schema changes from '${name}'`;
  const signs = { add: "+", change: "~", remove: "-" } as const;
  return [
    head,
    `  ${differences.length} aggregate change(s)`,
    ...differences.flatMap(({ aggregate, kind, events, lines }) => [
      `    ${signs[kind]} ${aggregate}${kind === "change" ? "" : ` (${events} event(s))`}`,
      ...lines.map((line) => `      ${line}`),
    ]),
  ].join("\n");
}

/** `TYPE::ID` first, because a type may have a colon and an id may begin with one. */
function selectionOf({ aggregate = [], aggregate_id = [] }: Flags): SyncSelection {
  const types = aggregate.map((type) => type.trim()).filter((type) => type !== "");
  return [
    ...types.map((type) => ({ type })),
    ...aggregate_id.map((word) => {
      const double = word.indexOf("::");
      const at = double === -1 ? word.indexOf(":") : double;
      if (at === -1) {
        throw invalidArgument(
          `aggregate id specification '${word}' must be in TYPE:ID or TYPE::ID format`,
          { flag: "--aggregate-id" },
        );
      }
      const [type, id] = [word.slice(0, at), word.slice(at + (double === -1 ? 1 : 2))];
      if (type === "" || id === "") {
        throw invalidArgument(`aggregate id specification '${word}' has empty type or id`, {
          flag: "--aggregate-id",
        });
      }
      return { type, id };
    }),
  ];
}
