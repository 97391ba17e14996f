// Administration, on a server of its own: what it changes would blind other cases. Tokens through
// their life, schemas with hostile columns and patterns, the audit trail, the configuration read
// again from a file with changes, the master key, and the key of the data that nobody may change
// from afar.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { judge } from "./answer.ts";
import { hugeNumbers, mutated, mutatedText, nested, type Dice } from "./dice.ts";
import { jsonText } from "./json.ts";
import { queryText } from "./requests.ts";
import { masterKey } from "./serve.ts";
import { after, exchange, requestBytes, type Goal, type Target, type Tried } from "./target.ts";

interface Step {
  readonly method: string;
  readonly path: string;
  readonly body?: string;
  /** Headers that show who asks; the goal's token where there are none. */
  readonly as?: readonly string[];
}

/** Asks and says what came: the next step may need it. */
type Ask = (step: Step) => Promise<string>;

/** What one case does, step by step. */
type Story = (dice: Dice, ask: Ask, goal: Goal) => Promise<void>;

const maybe = (dice: Dice, part: number, member: string): string[] =>
  dice.chance(part) ? [member] : [];

const number = (dice: Dice): string =>
  dice.chance(0.8) ? String(1 + dice.below(1_000)) : dice.pick(hugeNumbers);

const tokens: Story = async (dice, ask) => {
  const scopes = ['[{"aggregate_type":"order"}]', "null", "[]", jsonText(dice)];
  const group = dice.pick(["app", "admin", "reader"]);
  const members = [
    `"group":${dice.chance(0.9) ? `"${group}"` : jsonText(dice, 0)}`,
    `"user":${dice.chance(0.9) ? '"u"' : jsonText(dice, 0)}`,
    ...maybe(dice, 0.4, `"expiration_secs":${number(dice)}`),
    ...maybe(dice, 0.3, `"limit":${number(dice)}`),
    ...maybe(dice, 0.2, '"keep_alive":true'),
    ...maybe(
      dice,
      0.3,
      `"grants":${dice.pick(['["read"]', '["append","read"]', '["admin"]', "[]"])}`,
    ),
    ...maybe(dice, 0.4, `"aggregates":${dice.pick(scopes)}`),
  ];
  const issued = await ask({
    method: "POST",
    path: "/admin/tokens",
    body: `{${members.join()}}`,
  });
  const value = /"token":"([^"]+)"/.exec(issued)?.[1];
  const id = /"id":"([^"]+)"/.exec(issued)?.[1] ?? "0123456789abcdef";
  if (value !== undefined) {
    const as = [`Authorization: Bearer ${value}`];
    await ask({ method: "GET", path: "/v1/aggregates?take=3", as });
    await ask({ method: "GET", path: "/admin/tokens", as });
  }
  const named = encodeURIComponent(
    dice.chance(0.8) ? id : mutatedText(dice, value ?? id).toWellFormed(),
  );
  const terms = `{"expiration_secs":${number(dice)}${dice.chance(0.5) ? `,"limit":${number(dice)}` : ""}}`;
  await ask({ method: "POST", path: `/admin/tokens/${named}/refresh`, body: terms });
  // Each ends what it began, so that the file of tokens has no more active ones.
  await ask({ method: "POST", path: `/admin/tokens/${id}/revoke`, body: "{}" });
};

const patterns = [
  ...["^[a-z]+$", "(a+)+$", "(a|a)*b", "(?:x{1000}){1000}", "\\p{L}{2,}", "[[:alpha:]]", "(?=a)b"],
  ...[
    "\\1",
    "(",
    "[",
    "*",
    "a{99999}",
    "(?P<n>a)",
    "\ud800",
    `${"(".repeat(300)}${")".repeat(300)}`,
  ],
  ...["a".repeat(1_001), "(.*)*".repeat(50), "^$", "\\", "(?i)É", "[^]", "\\x{110000}"],
];

function column(dice: Dice, depth = 2): unknown {
  const type = dice.pick([
    ...["integer", "float", "decimal(10,2)", "decimal(300,1)", "boolean", "text", "timestamp"],
    ...["date", "json", "binary", "object", "nope", ""],
  ]);
  if (dice.chance(0.4)) return type;
  const bound = (): string => dice.pick(["1", "10", "2026-01-01", ...hugeNumbers]);
  return {
    type: dice.chance(0.7) ? dice.pick(["text", "text", "integer", "object"]) : type,
    ...(dice.chance(0.3) ? { required: true } : {}),
    ...(dice.chance(0.4) ? { regex: [dice.pick(patterns)] } : {}),
    ...(dice.chance(0.2) ? { contains: [dice.text(5)] } : {}),
    ...(dice.chance(0.2) ? { length: { min: dice.below(9), max: dice.below(90) } } : {}),
    ...(dice.chance(0.3) ? { range: { min: bound(), max: bound() } } : {}),
    ...(dice.chance(0.2) ? { format: dice.pick(["email", "url", "credit_card", "x"]) } : {}),
    ...(dice.chance(0.1) ? { must_match: dice.pick(["text", "a.b", "__proto__", ""]) } : {}),
    ...(depth > 0 && dice.chance(0.2) ? { properties: columns(dice, depth - 1) } : {}),
  };
}

/** By name; `__proto__` as a member that is there, which an object's own syntax would not give. */
const columns = (dice: Dice, depth = 2): unknown =>
  Object.fromEntries(
    Array.from({ length: 1 + dice.below(3) }, () => [
      dice.pick(["text", "n", "a.b", "a", "__proto__", "constructor", "", "é"]),
      column(dice, depth),
    ]),
  );

const change = (dice: Dice): string => {
  const field = dice.pick(["text", "n", "", "__proto__"]);
  const whole = {
    ...(dice.chance(0.7) ? { columns: columns(dice) } : {}),
    ...(dice.chance(0.1) ? { locked: dice.chance(0.3) } : {}),
    ...(dice.chance(0.1) ? { hidden: dice.chance(0.3) } : {}),
    ...(dice.chance(0.2) ? { hidden_field: { field, hidden: dice.chance(0.5) } } : {}),
    ...(dice.chance(0.2) ? { field_lock: { field, lock: dice.chance(0.3) } } : {}),
    ...(dice.chance(0.2) ? { add_events: [dice.pick(["noted", "changed", "$x", ""])] } : {}),
    ...(dice.chance(0.2) ? { add_fields: { noted: [field] } } : {}),
    ...(dice.chance(0.2) ? { snapshot_threshold: dice.pick([null, 0, 2, -1]) } : {}),
  };
  const text = JSON.stringify(whole);
  if (dice.chance(0.03)) {
    return nested(dice.pick([20, 40, 3_000]), ['{"columns":{"a":{"properties":', "{}", "}}}"]);
  }
  return dice.chance(0.75) ? text : mutated(dice, text).toString();
};

/** Few, so that one is made, changed and used by many cases at the same time. */
const schemas_max = 30;

const schemas: Story = async (dice, ask) => {
  const name = `s-${dice.below(schemas_max)}`;
  const path = `/admin/schemas/${name}`;
  const events = dice.chance(0.8) ? '["noted","changed"]' : jsonText(dice, 1);
  const made = `{"aggregate":"${name}","events":${events}}`;
  await ask({ method: "POST", path: "/admin/schemas", body: made });
  await ask({ method: "PATCH", path, body: change(dice) });
  const text = dice.pick(["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "a".repeat(5_000), "x@y.org", "10"]);
  const payload = dice.chance(0.7) ? JSON.stringify({ text, n: 3 }) : jsonText(dice);
  const event = `{"event":"noted","payload":${payload}}`;
  await ask({ method: "POST", path: `${path}/validate`, body: event });
  const stream = `"aggregate_type":"${name}","aggregate_id":"a-${dice.below(9)}"`;
  const append = `{${stream},"event_type":"noted","payload":${payload}}`;
  await ask({ method: "POST", path: "/v1/events", body: append });
  await ask({ method: "GET", path: dice.chance(0.8) ? path : "/admin/schemas" });
  await ask({ method: "GET", path: `/v1/aggregates?take=5&type=${name}` });
  if (dice.chance(0.2)) await ask({ method: "DELETE", path: `${path}/events/changed` });
};

const audit: Story = async (dice, ask) => {
  const pairs: readonly (readonly [string, string])[] = [
    ["action", dice.pick(["token.issue", "schema.change", "archive", "nope", ""])],
    ["aggregate_type", dice.pick(["order", "", "x".repeat(300)])],
    ["subject", dice.pick(["s-1", "", "é"])],
    ["group", "admin"],
    ["user", dice.pick(["fuzz", "narrow", dice.text(4).toWellFormed()])],
    ["since", dice.pick(["2026-01-01T00:00:00Z", "x", "0000-00-00T00:00:00Z"])],
    ["until", dice.pick(["2099-01-01T00:00:00Z", "2099-02-30T00:00:00Z"])],
    ["after", number(dice)],
    ["before", number(dice)],
    ["order", dice.pick(["asc", "desc", "x"])],
  ];
  const chosen = pairs.filter(() => dice.chance(0.15));
  const query = queryText([["take", String(dice.below(9))], ...chosen]);
  await ask({ method: "GET", path: `/admin/audit${query}` });
};

const reload = "/admin/config/reload";

const configuration: Story = async (dice, ask, { directory }) => {
  const right = [
    "page_limit = 100\nlist_page_size = 5\n",
    'restrict = "default"\n[api]\nrest = true\n',
    "payload_limit = 1_000_000 # a remark\nsnapshot_threshold = 3\n",
    '[rate_limit]\nper_token = 1_000_000\n[cors]\norigins = ["http://localhost:3000"]\n',
  ];
  const text = dice.pick(right);
  writeFileSync(join(directory, "config.toml"), dice.chance(0.5) ? text : mutated(dice, text));
  await ask({ method: "POST", path: reload, body: "{}" });
  await ask({ method: "GET", path: "/admin/status" });
  // The next case must not be refused for what this one has written.
  writeFileSync(join(directory, "config.toml"), "");
  await ask({ method: "POST", path: reload, body: "{}" });
};

const key: Story = async (dice, ask) => {
  const right = JSON.stringify({ data_encryption_key: Buffer.alloc(32, 9).toString("base64") });
  const body = dice.chance(0.5) ? right : mutated(dice, right).toString();
  await ask({ method: "POST", path: "/admin/key/rotate", body });
};

/** The right one opens its paths and no others; wrong ones are bounded, so most are told to wait. */
const master: Story = async (dice, ask) => {
  const wrong = [`${masterKey}x`, "", "x".repeat(9_000), "\xff\xfe", ` ${masterKey}, ${masterKey}`];
  const text = dice.chance(0.4) ? masterKey : mutatedText(dice, dice.pick([masterKey, ...wrong]));
  const key = text.replaceAll(/[\r\n\0]/g, "");
  const header = dice.pick([`X-Admin-Key: ${key}`, `Authorization: Bearer ${key}`]);
  const path = dice.pick([
    ...["/admin/tokens", "/admin/status", "/admin/schemas", "/admin/nope", "/v1/aggregates?take=2"],
    ...["/admin", "//admin/tokens", "/v1/../admin/status", "/admin/config/reload", "/graphql"],
  ]);
  await ask({ method: "GET", path, as: [header] });
};

const verify: Story = async (_, ask) => void (await ask({ method: "GET", path: "/admin/verify" }));

function storyOf(dice: Dice): Story {
  const at = dice.below(100);
  if (at === 0) return verify;
  if (at < 20) return tokens;
  if (at < 65) return schemas;
  if (at < 80) return audit;
  if (at < 90) return configuration;
  return at < 95 ? master : key;
}

export const admin: Target = {
  name: "admin",
  place: "admin",
  async attempt(goal, dice) {
    const tried: Tried[] = [];
    const bearer = [`Authorization: Bearer ${goal.token}`];
    const ask: Ask = async ({ method, path, body = "", as = bearer }) => {
      const fields = [...as, "Content-Type: application/json"];
      const bytes = requestBytes({ method, path, body: Buffer.from(body) }, fields);
      const exchanged = await exchange(goal, [bytes]);
      // Whoever has the file read again is told which file has the fault.
      const hidden = goal.hidden.filter((word) => path !== reload || word !== goal.directory);
      const judged = judge({ ...goal, hidden }, exchanged);
      const sent = `${method} ${path} ${JSON.stringify(as === bearer ? body : [as, body])}`;
      tried.push(after(judged, sent));
      return exchanged.received.toString();
    };
    await storyOf(dice)(dice, ask, goal);
    return {
      said: tried.flatMap(({ said }) => said),
      faults: tried.flatMap(({ faults }) => faults),
    };
  },
};
