// Events as lines of the log: one line each, whatever the values hold, and no payload unasked.

import { expect, test } from "bun:test";
import { createLog, type LogLevel } from "../../src/log.ts";
import { canonicalize } from "../../src/model/canonical.ts";
import { limits } from "../../src/model/limits.ts";
import { logLevels, type LogConfig } from "../../src/model/plugin.ts";
import { createLogEmitter } from "../../src/plugins/emitters/log.ts";
import { emission, emissions, never, payloadMark } from "../support/emissions.ts";

function emit(over: Partial<LogConfig> = {}, { least = "debug" as LogLevel } = {}) {
  const lines: string[] = [];
  const log = createLog({ least, now: () => "T", write: (line) => void lines.push(line) });
  const config: LogConfig = { type: "log", level: "info", template: null, ...over };
  return { emitter: createLogEmitter(config, { log }), lines };
}

async function linesOf(template: string | null, event = emission(1)): Promise<string[]> {
  const { emitter, lines } = emit({ template });
  expect(await emitter.deliver([event], never)).toEqual({ delivered: 1, fault: null });
  return lines;
}

test("without a template a line names the event, and shows no payload", async () => {
  const lines = await linesOf(null);
  expect(lines).toEqual(["T info plugin aggregate=patient id=p-001 event=patient-updated\n"]);
});

test("every placeholder is filled", async () => {
  const names = ["aggregate", "id", "event", "version", "position", "event_id", "user", "group"];
  const template = [...names, "note", "payload"].map((name) => `{${name}}`).join("|");
  const event = emission(7);
  const noted = emission(7, { metadata: { ...event.record.metadata, note: "seen" } });
  const { payload, metadata } = event.record;
  const text = `patient|p-001|patient-updated|7|7|${metadata.event_id}|jane|admin|seen|${payload}`;
  expect(await linesOf(template, noted)).toEqual([`T info plugin text=${JSON.stringify(text)}\n`]);
});

test("a missing note or issuer is nothing", async () => {
  const { metadata } = emission(1).record;
  const event = emission(1, { metadata: { ...metadata, issued_by: null } });
  expect(await linesOf("[{note}{user}{group}]", event)).toEqual(["T info plugin text=[]\n"]);
});

test("placeholders are filled once: those in values and unknown ones stay", async () => {
  const event = emission(1, { aggregate_type: "{id}", aggregate_id: "$&{payload}" });
  const lines = await linesOf("{aggregate}/{id}/{other}/{ id }/{__proto__}/{constructor}/{", event);
  expect(lines).toEqual([
    'T info plugin text="{id}/$&{payload}/{other}/{ id }/{__proto__}/{constructor}/{"\n',
  ]);
  expect(lines[0]).not.toContain(payloadMark);
});

test("no value forges a line or turns its direction, with a template and without", async () => {
  const evil = "a\n2024 info plugin id=b\r\u0085\u2028\u2029\u001b[2J\u009b1m\u007f\u202e\u2066";
  const event = emission(1, { aggregate_id: evil, payload: canonicalize('{"a":"\u202e"}') });
  for (const template of [null, "{id}", `x {id}{payload}\n${evil}`]) {
    const [line = "", ...more] = await linesOf(template, event);
    expect(more).toEqual([]);
    expect(line.slice(0, -1)).not.toMatch(/[\p{Cc}\u2028\u2029\u202e\u2066]/u);
    expect(line.endsWith("\n")).toBe(true);
  }
});

test("levels are those of the log; trace is debug", async () => {
  const seen: string[] = [];
  for (const level of logLevels) {
    const { emitter, lines } = emit({ level });
    await emitter.deliver(emissions(1), never);
    seen.push(lines[0]?.split(" ")[1] ?? "");
  }
  expect(seen).toEqual(["debug", "debug", "info", "warn", "error"]);
  const { emitter, lines } = emit({ level: "debug" }, { least: "info" });
  expect(await emitter.deliver(emissions(1), never)).toMatchObject({ delivered: 1 });
  expect(lines).toEqual([]);
});

test("a payload makes no line longer than the bound", async () => {
  const payload = canonicalize(JSON.stringify("😀".repeat(limits.plugin_log_chars_max)));
  const [line = ""] = await linesOf("{payload}", emission(1, { payload }));
  expect(line.length).toBeLessThan(limits.plugin_log_chars_max + 100);
  expect(line.isWellFormed()).toBe(true);
  expect(line.endsWith('…"\n')).toBe(true);
});

test("a stopped delivery writes nothing more", async () => {
  const { emitter, lines } = emit();
  expect(await emitter.deliver(emissions(2), AbortSignal.abort())).toMatchObject({ delivered: 0 });
  expect(lines).toEqual([]);
});
