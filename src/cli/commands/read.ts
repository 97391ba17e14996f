// `dbx aggregate list`, `get` and `replay`.

import { Type } from "@sinclair/typebox";
import { levelsAround, toJson } from "../../api/json.ts";
import type { Output as Answer } from "../../api/operations.ts";
import { Aggregate, emptyState, evolve } from "../../model/aggregate.ts";
import { canonicalize } from "../../model/canonical.ts";
import { notFound } from "../../model/error.ts";
import { EventRecord } from "../../model/event.ts";
import { emptyRoot } from "../../model/merkle.ts";
import { showKey, type StreamKey } from "../../model/stream.ts";
import { command } from "../command.ts";
import { pairs, type Output } from "../output.ts";
import { pretty } from "../pretty.ts";
import type { Target } from "../target.ts";
import { asking, callFlags, count, keyFlags, strict } from "./key-flags.ts";

const Aggregates = Type.Array(Aggregate);

export const list = command({
  summary: "List aggregates by type, then id.",
  about:
    "One page: --take aggregates, else the configured list_page_size. The cursor of the next page is\n" +
    "told on stderr.",
  flags: Type.Object(
    {
      skip: Type.Optional(count("Aggregates to pass over.")),
      take: Type.Optional(count("Aggregates to give, at most page_limit.")),
      cursor: Type.Optional(
        Type.String({ description: "Continue after the page that gave this cursor." }),
      ),
      ...callFlags,
    },
    strict,
  ),
  examples: ["dbx aggregate list", "dbx aggregate list --take 100 --json"],
  run: ({ token, json: _json, ...page }, shell) =>
    asking({ shell, access: "read", token }, async ({ ask }) => {
      const { output } = shell;
      const { aggregates, next_cursor } = await ask("listAggregates", page);
      if (output.json) await output.jsonText(toJson(Aggregates, aggregates));
      for (const aggregate of output.json ? [] : aggregates) {
        const { aggregate_type, aggregate_id, version, merkle_root, archived } = aggregate;
        await output.data(pairs({ aggregate_type, aggregate_id, version, merkle_root, archived }));
      }
      if (next_cursor !== null) output.words(`more: --cursor ${next_cursor}`);
    }),
});

export const get = command({
  summary: "Print the state of an aggregate, in JSON.",
  flags: Type.Object(
    {
      ...keyFlags,
      version: Type.Optional(count("The state as of this version instead of the current one.")),
      include_events: Type.Optional(
        Type.Boolean({ description: "With the events, up to that version." }),
      ),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "aggregate_id"],
  examples: [
    "dbx aggregate get person p-002",
    "dbx aggregate get --aggregate person --aggregate-id p-002 --version 1 --include-events",
  ],
  run: (flags, shell) =>
    asking({ shell, access: "read", token: flags.token }, async ({ ask }) => {
      const key = { aggregate_type: flags.aggregate, aggregate_id: flags.aggregate_id };
      const current = await ask("getAggregate", key);
      const { version = current.version } = flags;
      if (version > current.version) {
        // The current state under another number would be taken for that version's.
        throw notFound(
          `${showKey(key)} has no version ${version}; it is at version ${current.version}`,
          { ...key, version, current_version: current.version },
        );
      }
      const past = flags.version === undefined ? current : { ...current, ...emptyAggregate };
      const events: EventRecord[] = [];
      let shown = past;
      if (flags.version !== undefined || flags.include_events === true) {
        for await (const page of pagesOf(ask, key, { skip: 0, take: version })) {
          if (flags.version !== undefined) shown = page.reduce(advance, shown);
          if (flags.include_events === true) events.push(...page);
        }
      }
      // A state has a payload that is no object as a member, one level further down.
      const envelope = levelsAround(Aggregate) + 1;
      const text = canonicalize(toJson(Aggregate, shown), { envelope });
      const list = `"events":${toJson(Type.Array(EventRecord), events)}`;
      const whole = flags.include_events === true ? text.replace(/\}$/, () => `,${list}}`) : text;
      await shell.output.jsonText(whole);
    }),
});

const emptyAggregate = { version: 0, state: emptyState, merkle_root: emptyRoot.toHex() };

const advance = (aggregate: Aggregate, record: EventRecord): Aggregate => ({
  ...aggregate,
  version: record.version,
  state: evolve(aggregate.state, record.payload),
  merkle_root: record.merkle_root,
});

export const replay = command({
  summary: "Print the events of an aggregate, oldest first, in JSON.",
  about: "All of them: page_limit does not hold here. --json prints one array.",
  flags: Type.Object(
    {
      ...keyFlags,
      skip: Type.Optional(count("Events to pass over.")),
      take: Type.Optional(count("Events to give; all when missing.")),
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "aggregate_id"],
  examples: ["dbx aggregate replay person p-002", "dbx aggregate replay person p-002 --take 10"],
  run: (flags, shell) =>
    asking({ shell, access: "read", token: flags.token }, async ({ ask }) => {
      const key = { aggregate_type: flags.aggregate, aggregate_id: flags.aggregate_id };
      const { skip = 0, take = Infinity } = flags;
      await printPages(pagesOf(ask, key, { skip, take }), shell.output);
    }),
});

async function printPages(pages: AsyncIterable<EventRecord[]>, output: Output): Promise<void> {
  let printed = 0;
  for await (const page of pages) {
    const texts = page.map((record) => toJson(EventRecord, record));
    const [between, indent] = output.json ? [",\n  ", "  "] : ["\n", ""];
    const before = printed === 0 ? (output.json ? "[\n  " : "") : between;
    await output.raw(before + texts.map((text) => pretty(text, indent)).join(between));
    printed += page.length;
    output.progress(`${printed} events`);
  }
  output.endProgress();
  if (output.json) await output.raw(printed === 0 ? "[]\n" : "\n]\n");
  else if (printed > 0) await output.raw("\n");
}

/** The events after `skip`, `take` at most, in the pages that the other side is willing to give. */
async function* pagesOf(
  ask: Target["ask"],
  key: StreamKey,
  { skip, take }: { skip: number; take: number },
): AsyncGenerator<Answer<"listEvents">> {
  let given = 0;
  // Asked once even for nothing, because an unknown aggregate is an error.
  do {
    const wanted = Math.min(take - given, Number.MAX_SAFE_INTEGER);
    const page = await ask("listEvents", { ...key, skip: skip + given, take: wanted });
    if (page.length === 0) return;
    yield page;
    given += page.length;
  } while (given < take);
}
