// `dbx queue`: deliveries to plugins that failed, and what can be done about them.

import { Type } from "@sinclair/typebox";
import type { Output as Answer } from "../../api/operations.ts";
import { invalidArgument, unavailable } from "../../model/error.ts";
import { command, type Group } from "../command.ts";
import { pairs, type Output } from "../output.ts";
import type { Shell } from "../shell.ts";
import { asking, callFlags, count, strict } from "./key-flags.ts";

type Queue = Answer<"listQueue">;
type Delivery = Queue["deliveries"][number];

const pluginFlag = Type.Optional(
  Type.String({ hint: "label", description: "Of this plugin alone; of all when missing." }),
);

const show = command({
  summary: "List deliveries that failed: those that are tried again, and dead ones.",
  about:
    "A delivery is tried again after 1, 2, 4 … 64 seconds, and is dead after plugin_max_attempts; then\n" +
    "it is tried no more but by dbx queue retry. Pending ones with attempts=0 only wait behind an earlier\n" +
    "event of their aggregate.",
  flags: Type.Object(
    {
      plugin: pluginFlag,
      event_id: Type.Optional(Type.String({ hint: "uuid", description: "Of this event alone." })),
      after: Type.Optional(
        Type.String({ hint: "cursor", description: "Go on behind the page that ended there." }),
      ),
      take: Type.Optional(count("Deliveries to list, at most 1,000.")),
      ...callFlags,
    },
    strict,
  ),
  examples: ["dbx queue", "dbx queue --plugin search --json"],
  run: async ({ token, json: _json, ...asked }, shell) => {
    const { output } = shell;
    const queue = await asking({ shell, access: "read", token }, ({ ask }) =>
      ask("listQueue", asked),
    );
    if (output.json) return output.jsonValue(queue);
    await output.data(queueWords(queue));
    if (queue.next !== null) output.words(`more: --after ${queue.next}`);
  },
});

function queueWords({ pending, dead, deliveries }: Queue): string {
  const waiting = deliveries.filter((delivery) => !delivery.dead);
  const ended = deliveries.filter((delivery) => delivery.dead);
  return [
    `pending=${pending} dead=${dead}`,
    ...(waiting.length === 0 ? [] : ["", "Pending events:", ...waiting.map(lineOf)]),
    ...(ended.length === 0
      ? []
      : ["", "Dead events:", ...ended.map((one) => `${lineOf(one)} (no further retries)`)]),
  ].join("\n");
}

function lineOf(delivery: Delivery): string {
  const { event_id, aggregate_type, aggregate_id, event_type, attempts, plugin } = delivery;
  const { next_attempt_at, last_error } = delivery;
  const rest = pairs({
    ...{ aggregate: `${aggregate_type}::${aggregate_id}`, event: event_type, attempts, plugin },
    ...(next_attempt_at === null ? {} : { next_attempt_at }),
    ...(last_error === null ? {} : { last_error }),
  });
  return `  ${event_id} ${rest}`;
}

const clear = command({
  summary: "Take dead deliveries out of the queue; asks first.",
  flags: Type.Object(
    {
      plugin: pluginFlag,
      yes: Type.Optional(Type.Boolean({ description: "Do not ask." })),
      ...callFlags,
    },
    strict,
  ),
  examples: ["dbx queue clear", "dbx queue clear --plugin search --yes"],
  exits: { 2: "not confirmed, or the input does not fit" },
  run: async ({ plugin, yes, token }, shell) => {
    const { output } = shell;
    const which = plugin === undefined ? {} : { plugin };
    await asking({ shell, access: "write", token }, async ({ ask }) => {
      const { dead } = await ask("listQueue", { ...which, take: 1 });
      if (dead === 0) return tell(output, { cleared: 0 }, "no dead plugin events to clear");
      if (yes !== true && !(await confirmed(dead, shell))) throw invalidArgument("clear cancelled");
      const { cleared } = await ask("clearQueue", which);
      return tell(output, { cleared }, `cleared ${cleared} dead event(s) from the plugin queue`);
    });
  },
});

async function confirmed(dead: number, { output }: Shell): Promise<boolean> {
  if (!output.interactive) {
    throw invalidArgument("clear asks on a terminal; without one it needs --yes", {
      flag: "--yes",
    });
  }
  const answer = await output.ask(
    `This will remove ${dead} dead plugin event(s). Type 'clear' to confirm: `,
  );
  return answer.trim().toLowerCase() === "clear";
}

const retry = command({
  summary: "Try dead deliveries once more, now.",
  about: "Each goes to the plugin on which it failed, and to no other.",
  flags: Type.Object(
    {
      plugin: pluginFlag,
      event_id: Type.Optional(
        Type.String({ hint: "uuid", description: "Of this event alone, pending ones included." }),
      ),
      ...callFlags,
    },
    strict,
  ),
  examples: ["dbx queue retry", "dbx queue retry --event-id 45c3013e-9b95-4ed0-9af9-1a465f81d3cf"],
  exits: { 7: "some delivery failed again, or its plugin is not reached" },
  run: async ({ plugin, event_id, token }, shell) => {
    const { output } = shell;
    const which = plugin === undefined ? {} : { plugin };
    const { result, remaining } = await asking(
      { shell, access: "write", token },
      async ({ ask }) => ({
        result: await ask("retryQueue", {
          ...which,
          ...(event_id === undefined ? {} : { event_id }),
        }),
        remaining: (await ask("listQueue", { ...which, take: 1 })).dead,
      }),
    );
    const { succeeded, failed, dropped, faults, skipped } = result;
    if (output.json) await output.jsonValue({ ...result, remaining });
    else {
      for (const one of skipped) {
        output.words(
          `skipping plugin '${one.plugin}' - failed to prepare connection (${one.error})`,
        );
      }
      for (const fault of faults) {
        output.words(
          `plugin '${fault.plugin}' failed to process event ${fault.event_id} - ${fault.message}`,
        );
      }
      const isNothing = succeeded + failed + dropped === 0 && skipped.length === 0;
      await output.data(
        isNothing
          ? event_id === undefined
            ? "no dead plugin events to retry"
            : "no dead plugin events match the provided event id"
          : `retry summary: ${succeeded} succeeded, ${failed} failed, ${remaining} remaining` +
              (dropped === 0 ? "" : `, ${dropped} erased`),
      );
    }
    if (failed > 0 || skipped.length > 0) {
      throw unavailable(`${remaining} dead event(s) are still in the queue`, {
        failed,
        remaining,
      });
    }
  },
});

const tell = (output: Output, value: object, words: string): Promise<void> =>
  output.json ? output.jsonValue(value) : output.data(words);

export const queue: Group = {
  kind: "group",
  summary: "Deliveries to plugins that failed: list, retry, clear.",
  commands: { clear: async () => clear, retry: async () => retry, list: async () => show },
  bare: async () => show,
};
