// What must be true of every answer, whatever was asked: the one error shape on each refusal, the
// request's id, JSON that is JSON, and nothing of the server's inside or of other people's data.

import { fromWire } from "../../src/api/errors.ts";
import type { Exchanged, Goal, Said, Tried } from "./target.ts";

interface Answer {
  readonly status: number;
  readonly fields: ReadonlyMap<string, string>;
  readonly body: string;
}

/** What Bun's parser answers by itself, without a body and without asking dbx. */
const parserStatus = [400, 408, 411, 413, 414, 417, 431, 501, 505];

/** What came for one request on a connection: how it is counted, and what is wrong with it. */
export function judge(goal: Goal, { received, hangs }: Exchanged, { head = false } = {}): Tried {
  const text = received.toString();
  const quoted = JSON.stringify(text.slice(0, 600));
  const none: readonly Said[] = [{ word: "closed", kind: "neither" }];
  if (hangs) return { said: none, faults: [`neither answered nor closed: ${quoted}`] };
  const answer = readAnswer(text);
  if (answer === null) return { said: none, faults: [`no answer: ${quoted}`] };
  const { status, body } = answer;
  const own = body === "" && parserStatus.includes(status);
  const faults = [
    ...(own || answer.fields.has("x-request-id") ? [] : ["no request id"]),
    ...(status >= 500 && status !== 503 ? [`status ${status}`] : []),
    ...(own || head ? [] : bodyFaults(answer)),
    ...betrayed(goal, text, answer.fields.get("x-next-cursor")),
  ];
  return { said: [saidBy(answer)], faults: faults.map((fault) => `${fault}: ${quoted}`) };
}

function saidBy({ status, body }: Answer): Said {
  // GraphQL refuses in an answer, and may do so in a part of it.
  const errors = status === 200 && /^\{(?:"data":null,)?"errors":/.test(body);
  const kind = status < 400 && !errors ? "answered" : "refused";
  return { word: errors ? "errors" : String(status), kind };
}

function readAnswer(text: string): Answer | null {
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const [first = "", ...lines] = head.split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first)?.[1]);
  if (Number.isNaN(status)) return null;
  const fields = new Map(
    lines.map((line) => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = rest.join("\r\n\r\n");
  return { status, fields, body: fields.has("transfer-encoding") ? unchunked(body) : body };
}

/** Sizes count bytes. */
function unchunked(body: string): string {
  const bytes = Buffer.from(body);
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const end = bytes.indexOf("\r\n", at);
    const size = end < 0 ? 0 : Number.parseInt(bytes.toString("latin1", at, end), 16);
    if (!(size > 0)) return Buffer.concat(parts).toString();
    parts.push(bytes.subarray(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
}

function bodyFaults({ status, fields, body }: Answer): string[] {
  const type = fields.get("content-type") ?? "";
  if (status >= 400 && body === "") return ["a refusal without a reason"];
  if (type.includes("text/event-stream")) return eventFaults(body);
  if (status < 400 && !type.includes("json")) return [];
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return [status < 400 ? "an answer that is no JSON" : "a refusal that is no JSON"];
  }
  if (status < 400) return errorFaults(value);
  if (typeof value !== "object" || value === null) return ["a refusal that is no object"];
  if ("errors" in value) return errorFaults(value);
  const shape = Object.keys(value).toString() === "message,code,details";
  const { code } = { code: undefined, ...value };
  return shape && fromWire(value)?.code === code ? [] : ["another shape"];
}

/** What follows the last whole event is cut anywhere. */
function eventFaults(body: string): string[] {
  const events = body.split("\n\n").slice(0, -1);
  return events.flatMap((event) => {
    const data = /^data: ?(.+)$/m.exec(event)?.[1];
    if (data === undefined) return [];
    try {
      return errorFaults(JSON.parse(data));
    } catch {
      return [`an event that is no JSON (${data.slice(0, 200)})`];
    }
  });
}

/** GraphQL's list of errors, each with one of the codes. */
function errorFaults(value: unknown): string[] {
  if (typeof value !== "object" || value === null || !("errors" in value)) return [];
  if (!Array.isArray(value.errors) || value.errors.length === 0) return ["errors that are no list"];
  return value.errors.flatMap((error) => {
    if (typeof error?.message !== "string") return ["an error without a message"];
    const code = error.extensions?.code;
    if (typeof code !== "string") return ["an error without a code"];
    return code === "internal" || code === "data_corrupted" ? [`an error ${code}`] : [];
  });
}

/** Stacks and places of the code: nobody outside can use them but to attack. */
const inside = /\n\s+at |\\n\s+at |node_modules|[\w/]\.ts:\d|bun:sqlite|SQLITE_|\/home\/|\/root\//;

/** What an answer tells that is not for whoever asked. */
export function betrayed(goal: Goal, text: string, cursor = ""): string[] {
  const found = inside.exec(text)?.[0];
  const all = text + Buffer.from(cursor, "base64url").toString("latin1");
  return [
    ...(found === undefined ? [] : [`an answer tells of the inside (${JSON.stringify(found)})`]),
    ...goal.hidden
      .filter((word) => all.includes(word))
      .map((word) => `an answer holds ${word}, which is not for this token`),
  ];
}
