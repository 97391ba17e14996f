// `dbx aggregate list`, `get` and `replay`.

import { Type } from "@sinclair/typebox";
import { levelsAround, toJson } from "../../api/json.ts";
import type { Output as Answer } from "../../api/operations.ts";
import { Aggregate } from "../../model/aggregate.ts";
import { canonicalize } from "../../model/canonical.ts";
import { invalidArgument } from "../../model/error.ts";
import { EventRecord } from "../../model/event.ts";
import type { StreamKey } from "../../model/stream.ts";
import { command } from "../command.ts";
import { pairs, type Output } from "../output.ts";
import { createPager, tellMore } from "../pages.ts";
import { pretty } from "../pretty.ts";
import type { Target } from "../target.ts";
import { asking, callFlags, count, keyFlags, strict } from "./key-flags.ts";
import { printStaged } from "./staged.ts";

const Aggregates = Type.Array(Aggregate);

const at = (description: string) => Type.Optional(Type.String({ hint: "instant", description }));

const include_hidden = Type.Optional(
  Type.Boolean({ description: "With what schemas hide; needs the grant admin." }),
);

export const list = command({
  summary: "List aggregates by type, then id.",
  about:
    "One page: --take aggregates, else the configured list_page_size. If more follow, stderr says by\n" +
    "which --cursor. With --json stdout is the array of this page alone, and stderr a line of JSON with\n" +
    "the member next_cursor.\n\n" +
    'A filter compares members of the state, such as status, address.city, tags[0] or "odd key".x, by\n' +
    "=, !=, <, <=, >, >=, IN (…) and CONTAINS with strings in quotes, numbers, true, false and null,\n" +
    "and joins conditions by AND, OR, NOT and parentheses. EXISTS and a member ask whether it is there.",
  flags: Type.Object(
    {
      type: Type.Optional(Type.String({ description: "Only aggregates of this type." })),
      archived: Type.Optional(
        Type.Boolean({
          negatable: true,
          description: "Only archived ones; with --no-archived only the others.",
        }),
      ),
      filter: Type.Optional(
        Type.String({ hint: "condition", description: "Only those whose state fulfils it." }),
      ),
      at: at("The aggregates as they were then, such as 2024-12-01T17:22:43Z."),
      include_hidden,
      stage: Type.Optional(Type.Boolean({ description: "Display staged events instead." })),
      skip: Type.Optional(count("Aggregates to pass over.")),
      take: Type.Optional(count("Aggregates to give, at most page_limit.")),
      cursor: Type.Optional(
        Type.String({ description: "Continue after the page that gave this cursor." }),
      ),
      ...callFlags,
    },
    strict,
  ),
  examples: [
    "dbx aggregate list --take 100 --json",
    "dbx aggregate list --type person --filter 'status = \"active\" AND age >= 18'",
  ],
  run: ({ token, json: _json, stage, ...page }, shell) =>
    asking({ shell, access: "read", token }, async ({ ask }) => {
      const { output } = shell;
      if (stage === true) return printStaged(ask, output);
      const { aggregates, next_cursor } = await ask("listAggregates", page);
      if (output.json) await output.jsonText(toJson(Aggregates, aggregates));
      for (const aggregate of output.json ? [] : aggregates) {
        const { aggregate_type, aggregate_id, version, merkle_root, archived } = aggregate;
        await output.data(pairs({ aggregate_type, aggregate_id, version, merkle_root, archived }));
      }
      if (next_cursor !== null) tellMore(output, { flag: "cursor", value: next_cursor });
    }),
});

export const get = command({
  summary: "Print the state of an aggregate, in JSON.",
  flags: Type.Object(
    {
      ...keyFlags,
      version: Type.Optional(count("The state as of this version instead of the current one.")),
      at: at("The state as of this instant, such as 2024-12-01T17:22:43Z."),
      include_events: Type.Optional(
        Type.Boolean({ description: "With the events, up to that version." }),
      ),
      include_hidden,
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "aggregate_id"],
  examples: [
    "dbx aggregate get person p-002",
    "dbx aggregate get --aggregate person --aggregate-id p-002 --version 1 --include-events",
  ],
  run: async (
    { aggregate, aggregate_id, token, include_events, json: _json, ...moment },
    shell,
  ) => {
    if (moment.at !== undefined && moment.version !== undefined)
      throw invalidArgument("--at and --version name two moments: give one", { flag: "--at" });
    return asking({ shell, access: "read", token }, async ({ ask }) => {
      const key = { aggregate_type: aggregate, aggregate_id };
      const shown = await ask("getAggregate", { ...key, ...moment });
      // A state has a payload that is no object as a member, one level further down.
      const envelope = levelsAround(Aggregate) + 1;
      const text = canonicalize(toJson(Aggregate, shown), { envelope });
      if (include_events !== true) return shell.output.jsonText(text);
      const events: EventRecord[] = [];
      const asked = { ...key, ...hiddenToo(moment) };
      for await (const page of pagesOf(ask, asked, { skip: 0, take: shown.version })) {
        events.push(...page);
      }
      const list = `"events":${toJson(Type.Array(EventRecord), events)}`;
      return shell.output.jsonText(text.replace(/\}$/, () => `,${list}}`));
    });
  },
});

export const replay = command({
  summary: "Print the events of an aggregate, oldest first, in JSON.",
  about: "All of them: page_limit does not hold here. --json prints one array.",
  flags: Type.Object(
    {
      ...keyFlags,
      skip: Type.Optional(count("Events to pass over.")),
      take: Type.Optional(count("Events to give; all when missing.")),
      include_hidden,
      ...callFlags,
    },
    strict,
  ),
  words: ["aggregate", "aggregate_id"],
  examples: ["dbx aggregate replay person p-002", "dbx aggregate replay person p-002 --take 10"],
  run: ({ aggregate, aggregate_id, skip = 0, take = Infinity, ...flags }, shell) =>
    asking({ shell, access: "read", token: flags.token }, async ({ ask }) => {
      const asked = { aggregate_type: aggregate, aggregate_id, ...hiddenToo(flags) };
      await printPages(pagesOf(ask, asked, { skip, take }), shell.output);
    }),
});

/** As the operations ask for it: there or not, but never undefined. */
const hiddenToo = ({ include_hidden }: { include_hidden?: boolean }) =>
  include_hidden === undefined ? {} : { include_hidden };

async function printPages(pages: AsyncIterable<EventRecord[]>, output: Output): Promise<void> {
  let printed = 0;
  try {
    for await (const page of pages) {
      const texts = page.map((record) => toJson(EventRecord, record));
      await output.raw(output.json ? elements(texts, printed) : lines(texts));
      printed += page.length;
      output.progress(`${printed} events`);
    }
  } finally {
    output.endProgress();
  }
  if (output.json) await output.raw(printed === 0 ? "[]\n" : "\n]\n");
}

const lines = (texts: readonly string[]): string =>
  texts.map((text) => `${pretty(text)}\n`).join("");

/** The next elements of an array of which so many are printed. */
const elements = (texts: readonly string[], printed: number): string =>
  (printed === 0 ? "[\n  " : ",\n  ") + texts.map((text) => pretty(text, "  ")).join(",\n  ");

/** The events after `skip`, `take` at most, in the pages that the other side is willing to give. */
async function* pagesOf(
  ask: Target["ask"],
  asked: StreamKey & { include_hidden?: boolean },
  { skip, take }: { skip: number; take: number },
): AsyncGenerator<Answer<"listEvents">> {
  const pager = createPager();
  let given = 0;
  // Asked once even for nothing, because an unknown aggregate is an error.
  do {
    const page = await pager(take - given, (rows) =>
      ask("listEvents", { ...asked, skip: skip + given, take: rows }),
    );
    if (page.length === 0) return;
    yield page;
    given += page.length;
  } while (given < take);
}
