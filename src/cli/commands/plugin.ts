// `dbx plugin …`: whom committed events are delivered to.

import { Type } from "@sinclair/typebox";
import type { Ask } from "../../api/dbx.ts";
import type { Output as Answer } from "../../api/operations.ts";
import { notFound, unavailable } from "../../model/error.ts";
import { command, type Group } from "../command.ts";
import { pairs } from "../output.ts";
import { createMeter } from "../progress.ts";
import { asking, callFlags, strict } from "./key-flags.ts";

type Status = Answer<"listPlugins">[number];

const label = Type.String({ hint: "label", description: "The plugin's label." });
const named = Type.Object({ name: label, ...callFlags }, strict);

const enable = command({
  summary: "Check a plugin, and deliver to it from where it is.",
  flags: named,
  words: ["name"],
  examples: ["dbx plugin enable search"],
  exits: { 7: "the check failed: nobody is reached" },
  run: async ({ name, token }, shell) => {
    const { output } = shell;
    await asking({ shell, access: "write", token }, async ({ ask }) => {
      const before = await find(ask, name);
      const status = await ask("enablePlugin", { name });
      if (output.json) return output.jsonValue(status);
      return output.data(`Plugin '${name}' ${before.enabled ? "is already " : ""}enabled`);
    });
  },
});

const disable = command({
  summary: "Deliver nothing to a plugin until it is enabled again; it stays where it is.",
  flags: named,
  words: ["name"],
  examples: ["dbx plugin disable search"],
  run: async ({ name, token }, shell) => {
    const { output } = shell;
    await asking({ shell, access: "write", token }, async ({ ask }) => {
      const before = await find(ask, name);
      const status = await ask("disablePlugin", { name });
      if (output.json) return output.jsonValue(status);
      return output.data(`Plugin '${name}' ${before.enabled ? "" : "is already "}disabled`);
    });
  },
});

const remove = command({
  summary: "Remove a disabled plugin with its part of the queue; what is installed stays.",
  flags: named,
  words: ["name"],
  examples: ["dbx plugin remove search"],
  exits: { 4: "it is enabled" },
  run: async ({ name, token }, shell) => {
    const { output } = shell;
    await asking({ shell, access: "write", token }, ({ ask }) => ask("removePlugin", { name }));
    if (output.json) return output.jsonValue({ removed: true, name });
    return output.data(`Plugin '${name}' removed`);
  },
});

const list = command({
  summary: "List all plugins, how far each is and how it does.",
  about:
    "checkpoint is the position up to which everything is delivered, queued or dropped; lag is how many\n" +
    "events lie behind it. Secrets read `set`.",
  flags: Type.Object(callFlags, strict),
  examples: ["dbx plugin list", "dbx plugin list --json"],
  run: async ({ token }, shell) => {
    const { output } = shell;
    const plugins = await asking({ shell, access: "read", token }, ({ ask }) =>
      ask("listPlugins", {}),
    );
    if (output.json) return output.jsonValue(plugins);
    if (plugins.length === 0) return output.data("(no plugins configured)");
    for (const plugin of plugins) await output.data(wordsOf(plugin));
  },
});

function wordsOf({ name, config, enabled, ...status }: Status): string {
  const [now, next] = enabled ? ["enabled", "disable"] : ["disabled", "enable"];
  const { state, checkpoint, lag, pending, dead, dropped, last_error } = status;
  const figures = pairs({
    ...{ state, checkpoint, lag, pending, dead },
    ...(dropped === 0 ? {} : { dropped }),
    ...(last_error === null ? {} : { last_error }),
  });
  const head = `${config.type} (${name}) - ${now} (${next} with plugin ${next} ${name})`;
  return `${head}\n  ${figures}`;
}

const test = command({
  summary: "Check every enabled plugin and deliver a sample event to it.",
  flags: Type.Object(callFlags, strict),
  examples: ["dbx plugin test"],
  exits: { 7: "some plugin failed" },
  run: async ({ token }, shell) => {
    const { output } = shell;
    const results = await asking({ shell, access: "write", token }, ({ ask }) =>
      ask("testPlugins", {}),
    );
    const failed = results.filter(({ ok }) => !ok).length;
    if (output.json) await output.jsonValue(results);
    else if (results.length === 0) return output.data("(no plugins enabled)");
    for (const { name, type, ok, error } of output.json ? [] : results) {
      await output.data(`${type} (${name}) - ${ok ? "ok" : `FAILED (${error ?? "unknown"})`}`);
    }
    if (!output.json) {
      const succeeded = results.length - failed;
      await output.data(
        `Tested ${results.length} plugin(s): ${succeeded} succeeded, ${failed} failed`,
      );
    }
    if (failed > 0) throw unavailable(`plugin test failed for ${failed} plugin(s)`, { failed });
  },
});

const replay = command({
  summary: "Deliver stored events of an aggregate, or of all of a type, to a plugin once more.",
  about:
    "In order for each aggregate, beside what is delivered anyway; the checkpoint does not move. The first\n" +
    "failure ends it and says with which --after it goes on.",
  flags: Type.Object(
    {
      name: label,
      aggregate: Type.String({
        hint: "type",
        member: "aggregate_type",
        description: "The aggregates' type.",
      }),
      aggregate_id: Type.Optional(
        Type.String({ hint: "id", description: "One aggregate; all of the type when missing." }),
      ),
      after: Type.Optional(
        Type.String({ hint: "cursor", description: "Go on where another replay ended." }),
      ),
      ...callFlags,
    },
    strict,
  ),
  words: ["name", "aggregate", "aggregate_id"],
  examples: ["dbx plugin replay search patient", "dbx plugin replay search patient p-001"],
  exits: { 7: "a delivery failed" },
  run: async ({ name, aggregate: aggregate_type, aggregate_id, after, token }, shell) => {
    const { output } = shell;
    const which = {
      ...{ name, aggregate_type },
      ...(aggregate_id === undefined ? {} : { aggregate_id }),
    };
    const done = await asking({ shell, access: "write", token }, ({ ask }) => {
      using meter = createMeter(output, { total: null, unit: "events" });
      return replayAll(ask, { which, after, advance: meter.advance });
    });
    if (output.json) await output.jsonValue(done);
    else if (done.error === null) await output.data(replayWords(done, which));
    if (done.error === null) return;
    const resume = done.next === null ? "" : `; go on with --after ${done.next}`;
    throw unavailable(
      `after ${done.delivered} event(s) the plugin took no more: ${done.error}${resume}`,
      { plugin: name, ...done },
    );
  },
});

interface Replayed {
  readonly delivered: number;
  readonly dropped: number;
  readonly aggregates: number;
  readonly next: string | null;
  readonly error: string | null;
}

async function replayAll(
  ask: Ask,
  options: {
    which: { name: string; aggregate_type: string; aggregate_id?: string };
    after: string | undefined;
    advance: (events: number) => void;
  },
): Promise<Replayed> {
  const { which, advance } = options;
  let { after } = options;
  const sums = { delivered: 0, dropped: 0, aggregates: 0 };
  for (;;) {
    const page = await ask("replayPlugin", { ...which, ...(after === undefined ? {} : { after }) });
    sums.delivered += page.delivered;
    sums.dropped += page.dropped;
    sums.aggregates += page.aggregates;
    advance(page.delivered);
    const { next, error } = page;
    if (error !== null || next === null) return { ...sums, next, error };
    after = next;
  }
}

function replayWords(
  { delivered, dropped, aggregates }: Replayed,
  { aggregate_type: type, aggregate_id: id }: { aggregate_type: string; aggregate_id?: string },
): string {
  const erased = dropped === 0 ? "" : ` (${dropped} erased event(s) left out)`;
  if (id !== undefined) {
    return delivered + dropped === 0
      ? `no events found for ${type}::${id}`
      : `replayed ${type}::${id}${erased}`;
  }
  return `replayed ${aggregates} aggregate(s) for '${type}'${erased}`;
}

/** Throws `not_found` in the words that the server would use. */
async function find(ask: Ask, name: string): Promise<Status> {
  const found = (await ask("listPlugins", {})).find((plugin) => plugin.name === name);
  if (found === undefined) {
    throw notFound(`no plugin named '${name}' is configured`, { plugin: name });
  }
  return found;
}

export const plugin: Group = {
  kind: "group",
  summary: "Deliver committed events to other systems.",
  commands: {
    install: async () => (await import("./plugin-install.ts")).pluginInstall,
    config: async () => (await import("./plugin-config.ts")).pluginConfig,
    enable: async () => enable,
    disable: async () => disable,
    remove: async () => remove,
    test: async () => test,
    list: async () => list,
    replay: async () => replay,
    queue: async () => (await import("./queue.ts")).queue,
  },
};
